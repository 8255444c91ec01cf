/**
 * The address of one noise. The same three integers give the same standard normal numbers on any machine
 * (Philox 4x32-10 and Box-Muller, see `normal.ts`), so a noise never has to be stored or sent to be had again.
 */
export interface Draw {
  /** Integer in [0, 2^53 - 1]: the seed of the request. */
  readonly seed: number;
  /** Integer in [0, 2^32 - 1]: what the noise is for, one of `STREAMS`. */
  readonly stream: number;
  /** Integer in [0, 2^32 - 1]: which noise of that stream. */
  readonly index: number;
}

/**
 * Streams keep draws with different purposes apart: a law is never judged on a noise that its search has seen, and
 * the samples a user asks for are neither those of the search nor those of the report.
 */
export const STREAMS = {
  /** Proposals of an optimiser. */
  search: 0,
  /** Draws by which an optimiser chooses between candidate laws; they count as part of its budget. */
  heldOut: 1,
  /** Fresh draws of the report. */
  report: 2,
  /** Samples that users ask for. */
  samples: 3,
  /** Initial weights of networks. */
  weights: 4,
} as const;
