import type { EngineOptions, GenerationSpec } from './messages.ts';

/**
 * Most positions of latents, height * width over all rows of a run, that the CPU gets at a time: two pictures of 512x512 (one with classifier-free
 * guidance). A larger run takes memory in proportion and no less time.
 */
const CPU_POSITIONS = 2 * 64 * 64;

/** Draws for one graph run: `batchSize`, or on the CPU fewer where pictures are large. */
export function drawsPerRun(
  { batchSize, executionProviders }: Pick<EngineOptions, 'batchSize' | 'executionProviders'>,
  { latentShape, guidanceScale }: Pick<GenerationSpec, 'latentShape' | 'guidanceScale'>,
): number {
  if (executionProviders[0] !== 'cpu') return batchSize;
  const positions = latentShape.slice(1).reduce((product, size) => product * size, 1);
  const rows = guidanceScale > 1 ? 2 : 1;
  return Math.max(1, Math.min(batchSize, Math.floor(CPU_POSITIONS / (positions * rows))));
}
