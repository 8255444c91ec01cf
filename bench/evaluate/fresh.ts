import { type Noise, STREAMS } from '../../src/core/noise.ts';

/** The draws that a distribution is judged on: a search with the same seed has not seen them. */
export const freshDraws = (seed: number, count: number): Noise[] =>
  Array.from({ length: count }, (_, index) => ({ key: { seed, stream: STREAMS.report, index } }));
