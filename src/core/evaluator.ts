import type { Noise } from './noise.ts';
import type { Picture } from './picture.ts';

/** The result of evaluating one noise. */
export interface Evaluation {
  /** The reward, finite: the weighted sum of its terms; null when none was asked for. */
  readonly reward: number | null;
  /** The score of each term, before weighting, in order; null when none was asked for. */
  readonly terms: readonly number[] | null;
  /** The picture; null when it was not asked for or the evaluator makes none. */
  readonly picture: Picture | null;
}

/**
 * The objective of a search: noises in, rewards and pictures out, for one prompt, model, reward and sampler.
 * The local engine implements it; a remote client or a group of machines could.
 */
export interface Evaluator {
  /** Shape of one latent without the batch axis, such as [4, 64, 64]. */
  readonly shape: readonly number[];
  /** Embedding of the prompt, any length. */
  readonly promptEmbedding: Float32Array;
  /** One evaluation per noise, in order. Rejects with the signal's reason soon after it was aborted. */
  evaluate(
    noises: readonly Noise[],
    options: { readonly reward: boolean; readonly pictures: boolean; readonly signal?: AbortSignal },
  ): Promise<Evaluation[]>;
}

/** Turns noises into pictures, and scores them with those reward models that run beside the diffusion model. */
export interface ImagePipeline {
  /** Shape of one latent without the batch axis. */
  readonly shape: readonly number[];
  /** Embedding of the prompt, any length. */
  readonly promptEmbedding: Float32Array;
  /** One entry per noise, in order; `scores` has one number per reward model of this pipeline. */
  evaluate(
    noises: readonly Noise[],
    options: { readonly scores: boolean; readonly pictures: boolean; readonly signal?: AbortSignal },
  ): Promise<{ readonly scores: readonly number[] | null; readonly picture: Picture | null }[]>;
}
