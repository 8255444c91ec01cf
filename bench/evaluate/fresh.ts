import { STREAMS } from '../../src/numerics/draw.ts';
import type { NoiseDraw } from '../../src/search/generator.ts';

/** The draws that a law is judged on: a search with the same seed has not seen them. */
export const freshDraws = (seed: number, count: number): NoiseDraw[] =>
  Array.from({ length: count }, (_, index) => ({ draw: { seed, stream: STREAMS.report, index } }));
