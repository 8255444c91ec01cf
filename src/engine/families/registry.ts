import type { FamilyName } from '../../bundles/model-bundle.ts';
import type { Family } from './family.ts';
import { flux } from './flux.ts';
import { stableDiffusion } from './stable-diffusion.ts';
import { stableDiffusion3 } from './stable-diffusion-3.ts';
import { stableDiffusionXl } from './stable-diffusion-xl.ts';

/**
 * The supported families. A new family is a file beside this one, an entry here, and a name and a
 * layout in `bundles/families.ts`.
 */
export const FAMILIES: Readonly<Record<FamilyName, Family>> = {
  'stable-diffusion': stableDiffusion,
  'stable-diffusion-xl': stableDiffusionXl,
  'stable-diffusion-3': stableDiffusion3,
  flux,
};
