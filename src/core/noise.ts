/**
 * The key of one noise, as JAX's PRNG keys: the same three integers give the same standard normal numbers on
 * any machine (Philox 4x32-10 and Box-Muller, see `numerics/normal.ts`), so a noise is never stored or sent.
 */
export interface NoiseKey {
  /** Integer in [0, 2^53 - 1]: the seed of the request. */
  readonly seed: number;
  /** Integer in [0, 2^32 - 1]: the purpose of the noise, one of `STREAMS`. */
  readonly stream: number;
  /** Integer in [0, 2^32 - 1]: the position within that stream. */
  readonly index: number;
}

/** An initial noise z_T to be denoised. */
export interface Noise {
  /** Names the noise, and seeds any noise that the scheduler adds later (eta > 0). */
  readonly key: NoiseKey;
  /** d numbers of about unit variance; left out: the N(0, I) noise of `key`. */
  readonly values?: Float32Array;
}

/**
 * Streams keep noises with different purposes apart: a distribution is never judged on a noise that its search
 * has seen, and the samples of a user are neither those of the search nor those of the report.
 */
export const STREAMS = {
  /** Proposals of an optimizer. */
  search: 0,
  /** Noises by which an optimizer chooses between candidate distributions; part of its budget. */
  heldOut: 1,
  /** Fresh noises of the report. */
  report: 2,
  /** Samples that users ask for. */
  samples: 3,
  /** Initial weights of networks. */
  weights: 4,
} as const;
