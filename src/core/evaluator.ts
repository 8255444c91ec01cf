import type { Noise } from './noise.ts';
import type { Picture } from './picture.ts';

/**
 * The largest absolute value of a score and of a reward that an optimizer learns from.
 *
 * No reward model comes near this value. A term whose score of a picture lies beyond it fails with
 * a `RewardError`. The weights of several terms can still take their sum beyond it; the optimizers
 * then clamp the sum (`numerics/optimizers/guard.ts`), which keeps means of rewards and squares of
 * gradients finite.
 */
export const MAX_ABSOLUTE_REWARD = 1e9;

/** The result of evaluating one noise. */
export interface Evaluation {
  /** Weighted sum of the scores, finite; null when the caller did not ask for rewards. */
  readonly reward: number | null;
  /** Score of each term before weighting, in the order of the terms; null when `reward` is null. */
  readonly terms: readonly number[] | null;
  /** The picture; null when the caller did not ask for pictures or the evaluator makes none. */
  readonly picture: Picture | null;
}

/**
 * The objective of a search: it turns noises into rewards and pictures, for one prompt, model,
 * reward and sampler. The local engine implements it; a remote service could.
 */
export interface Evaluator {
  /** Shape of one latent without the batch axis, such as [4, 64, 64]. */
  readonly shape: readonly number[];
  /** Embedding of the prompt, of any length. */
  readonly promptEmbedding: Float32Array;
  /**
   * One evaluation per noise, in order. Soon after `signal` is aborted, the promise rejects with
   * the signal's reason.
   */
  evaluate(noises: readonly Noise[], options: EvaluateOptions): Promise<Evaluation[]>;
}

/** What a caller of `Evaluator.evaluate` needs. */
export interface EvaluateOptions {
  readonly reward: boolean;
  readonly pictures: boolean;
  /**
   * Of the pictures, the caller uses that of the first highest reward only, and only if the reward
   * is above this number. An evaluator that sends pictures over a network may leave out the rest.
   */
  readonly bestAbove?: number;
  readonly signal?: AbortSignal;
}

/**
 * Turns noises into pictures and scores these with the reward models that run in the same engine.
 */
export interface ImagePipeline {
  /** Shape of one latent without the batch axis, such as [4, 64, 64]. */
  readonly shape: readonly number[];
  /** Embedding of the prompt, of any length. */
  readonly promptEmbedding: Float32Array;
  /** One entry per noise, in order; `scores` holds one number per reward model of this pipeline. */
  evaluate(
    noises: readonly Noise[],
    options: { readonly scores: boolean; readonly pictures: boolean; readonly signal?: AbortSignal },
  ): Promise<{ readonly scores: readonly number[] | null; readonly picture: Picture | null }[]>;
}
