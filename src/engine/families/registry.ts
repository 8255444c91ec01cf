import type { FamilyName } from '../../bundles/model-bundle.ts';
import type { Family } from './family.ts';
import { flux } from './flux.ts';
import { stableDiffusion } from './stable-diffusion.ts';
import { stableDiffusion3 } from './stable-diffusion-3.ts';
import { stableDiffusionXl } from './stable-diffusion-xl.ts';

/** The families that can be run. A new one is a file beside this, a line here and one in src/bundles/families.ts. */
export const FAMILIES: Readonly<Record<FamilyName, Family>> = {
  'stable-diffusion': stableDiffusion,
  'stable-diffusion-xl': stableDiffusionXl,
  'stable-diffusion-3': stableDiffusion3,
  flux,
};
