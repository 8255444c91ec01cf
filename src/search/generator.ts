import type { Draw } from '../numerics/draw.ts';

/** A noise to be denoised: the address of a N(0, I) noise and, unless it is that very noise, its values. */
export interface NoiseDraw {
  readonly draw: Draw;
  /** The initial noise, when it is not simply the N(0, I) noise at `draw`. */
  readonly noise?: Float32Array;
}

/** An 8-bit RGB picture, row by row. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** width * height * 3 bytes. */
  readonly pixels: Uint8Array;
}

/** What became of one draw. */
export interface Evaluation {
  /** The reward, finite: the weighted sum of its terms; null when none was asked for. */
  readonly reward: number | null;
  /** Score of each of its terms, before weighting, in their order; null when none was asked for. */
  readonly terms: readonly number[] | null;
  /** The picture, when asked for and when there is one. */
  readonly picture: Picture | null;
}

/**
 * Where rewards come from, as the optimisation loop sees it: draws in, rewards and perhaps pictures out, for one prompt,
 * model, reward and sampler. The local engine is one; it may as well be a client of ours, or many machines.
 */
export interface Generator {
  /** Shape of one latent without the batch axis. */
  readonly shape: readonly number[];
  /** Embedding of the prompt, any length. */
  readonly promptEmbedding: Float32Array;
  /** One evaluation per draw, in order. Rejects with the signal's reason soon after it was aborted. */
  evaluate(
    draws: readonly NoiseDraw[],
    options: { readonly reward: boolean; readonly pictures: boolean; readonly signal?: AbortSignal },
  ): Promise<Evaluation[]>;
}

/** What makes the pictures of a generator, and gives the scores of those terms of its reward that run beside the model. */
export interface Painter {
  /** Shape of one latent without the batch axis. */
  readonly shape: readonly number[];
  /** Embedding of the prompt, any length. */
  readonly promptEmbedding: Float32Array;
  /** One entry per draw, in order; `scores` has one number per reward that the painter was made with. */
  evaluate(
    draws: readonly NoiseDraw[],
    options: { readonly scores: boolean; readonly pictures: boolean; readonly signal?: AbortSignal },
  ): Promise<{ readonly scores: readonly number[] | null; readonly picture: Picture | null }[]>;
}
