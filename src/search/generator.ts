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
  /** Score of the reward model, finite; null when none was asked for. */
  readonly reward: number | null;
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
