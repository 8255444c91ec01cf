import type { SamplerRequest } from './schemas/common.ts';
import type { PRESETS } from './schemas/job.ts';

/** What a preset fills in where a request is silent; what it leaves out comes from the model's defaults. */
export interface Preset {
  readonly optimizer: { readonly name: string; readonly [parameter: string]: string | number | boolean };
  readonly images: number;
  readonly sampler: SamplerRequest;
}

export const PRESET_VALUES: Record<(typeof PRESETS)[number], Preset> = {
  fast: { optimizer: { name: 'gp' }, images: 150, sampler: {} },
  // FIND's published settings (Chen et al. 2024, appendix; the authors' code), but for eta: with eta = 1 most of the
  // randomness of a picture lies outside the noise that is learned. Ask for `"sampler": {"eta": 1}` to have it.
  paper: {
    optimizer: { name: 'find' },
    images: 150,
    sampler: { scheduler: 'ddim', steps: 50, guidanceScale: 7.5 },
  },
  thorough: { optimizer: { name: 'gp' }, images: 500, sampler: {} },
};
