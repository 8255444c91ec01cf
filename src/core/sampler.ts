/** How a noise becomes a picture: the scheduler and its settings, in diffusers' terms. */
export interface Sampler {
  /** Name of a scheduler in `numerics/schedulers/registry.ts`, such as `ddim` or `dpmsolver++`. */
  readonly scheduler: string;
  /** Denoising steps, 1 or more. */
  readonly steps: number;
  /**
   * Scale of classifier-free guidance; 1 or less turns it off. Distilled models read it as input.
   */
  readonly guidanceScale: number;
  /** DDIM's eta in [0, 1]; 0 is deterministic. */
  readonly eta: number;
  /** Last layers of the CLIP text encoder to skip, 0 or more; diffusers' `clip_skip`. */
  readonly clipSkip: number;
  /** Width of the picture in pixels. */
  readonly width: number;
  /** Height of the picture in pixels. */
  readonly height: number;
}
