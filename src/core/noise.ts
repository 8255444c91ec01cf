/**
 * The key of one noise, used as JAX uses its PRNG keys: the same three integers give the same
 * standard normal numbers on any machine (see `numerics/normal.ts`), so a noise is never stored or
 * sent.
 */
export interface NoiseKey {
  /** Integer in [0, 2^53 - 1]: the seed of the request. */
  readonly seed: number;
  /** Integer in [0, 2^32 - 1]: the purpose of the noise, one of `STREAMS`. */
  readonly stream: number;
  /** Integer in [0, 2^32 - 1]: the position within the stream. */
  readonly index: number;
}

/** An initial noise z_T. */
export interface Noise {
  /** Identifies the noise and seeds the noise that a stochastic scheduler adds later (eta > 0). */
  readonly key: NoiseKey;
  /** d numbers of about unit variance; without them the noise is the N(0, I) noise of `key`. */
  readonly values?: Float32Array;
}

/**
 * Streams keep noises of different purposes apart. A report never judges a distribution on noises
 * that its search has seen, and samples for users repeat neither the noises of the search nor those
 * of the report.
 */
export const STREAMS = {
  /** Proposals of an optimizer. */
  search: 0,
  /**
   * Noises on which an optimizer compares candidate distributions; they count against its budget.
   */
  heldOut: 1,
  /** Noises of the report. */
  report: 2,
  /** Samples that users request. */
  samples: 3,
  /** Initial weights of networks. */
  weights: 4,
} as const;
