import type { SamplerRequest } from './schemas/common.ts';
import type { PRESETS } from './schemas/job.ts';

/**
 * Values for what a request leaves out. What the preset leaves out too comes from the defaults of
 * the model.
 */
export interface Preset {
  readonly optimizer: { readonly name: string; readonly [parameter: string]: string | number | boolean };
  /** Images that the search may make. */
  readonly images: number;
  readonly sampler: SamplerRequest;
}

/** The presets by their names in a request. */
export const PRESET_VALUES: Record<(typeof PRESETS)[number], Preset> = {
  fast: { optimizer: { name: 'gp' }, images: 150, sampler: {} },
  // The published settings of FIND (Chen et al. 2024, appendix, and the authors' code), except eta
  // = 1: with it, most randomness of a picture lies outside the learned noise. Requests can set
  // `"sampler": {"eta": 1}`.
  paper: {
    optimizer: { name: 'find' },
    images: 150,
    sampler: { scheduler: 'ddim', steps: 50, guidanceScale: 7.5 },
  },
  thorough: { optimizer: { name: 'gp' }, images: 500, sampler: {} },
};
