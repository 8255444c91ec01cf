import { describe, expect, it } from 'vitest';
import { BatchSizes, fixedSizes } from '../../src/engine/batch-size.ts';
import type { EngineOptions, ModelSpec } from '../../src/engine/messages.ts';

const options = (provider: string, batchSize: number): EngineOptions => ({
  executionProviders: [provider],
  threads: 1,
  batchSize,
});
const work = (side = 16, guidanceScale = 4, name = 'a') => ({
  model: { name, path: `/models/${name}` } as ModelSpec,
  latentShape: [4, side, side],
  guidanceScale,
  width: side * 8,
  height: side * 8,
});

describe('the sizes of graph runs', () => {
  it.each([
    [1, [1]],
    [2, [1, 2]],
    [6, [1, 2, 4, 6]],
    [8, [1, 2, 4, 8]],
    [9, [1, 2, 4, 8, 9]],
  ])('are the powers of two up to %i, and it', (limit, sizes) => {
    expect(fixedSizes(limit)).toEqual(sizes);
  });

  it('are few where kernels are chosen for each shape, and all on the CPU', () => {
    const [cuda, cpu] = [new BatchSizes(options('cuda', 6)), new BatchSizes(options('cpu', 6))];
    expect([1, 2, 3, 4, 5, 6].map((count) => cuda.sizeFor(count, work()))).toEqual([1, 2, 4, 4, 6, 6]);
    expect([1, 2, 3, 4, 5, 6].map((count) => cpu.sizeFor(count, work()))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(cuda.sizes(work())).toEqual([1, 2, 4, 6]);
  });

  it('are limited on the CPU where pictures are large, there alone', () => {
    const [cuda, cpu] = [new BatchSizes(options('cuda', 8)), new BatchSizes(options('cpu', 8))];
    expect(cuda.limit(work(64))).toBe(8);
    expect([work(64), work(64, 1), work(32), work(128), work(16)].map((one) => cpu.limit(one))).toEqual([
      1, 2, 4, 1, 8,
    ]);
  });
});

describe('a run that was too large for the memory', () => {
  it('halves the limit for this model at this size alone', () => {
    const sizes = new BatchSizes(options('cpu', 8));
    expect(sizes.reduced()).toEqual([]);
    expect(sizes.halve(8, work())).toBe(4);
    expect(sizes.halve(3, work(8))).toBe(1);
    expect([work(), work(8), work(32), work(16, 1), work(16, 4, 'b')].map((one) => sizes.limit(one))).toEqual(
      [4, 1, 4, 8, 8],
    );
    expect(sizes.halve(4, work())).toBe(2);
    expect(sizes.limit(work())).toBe(2);
    expect(sizes.reduced()).toEqual([
      { model: 'a', width: 128, height: 128, batchSize: 2 },
      { model: 'a', width: 64, height: 64, batchSize: 1 },
    ]);
  });

  it('leaves the next smaller of the sizes that kernels were chosen for', () => {
    const sizes = new BatchSizes(options('cuda', 6));
    expect([sizes.halve(6, work()), sizes.halve(4, work()), sizes.halve(2, work())]).toEqual([4, 2, 1]);
    expect(sizes.sizes(work())).toEqual([1]);
  });
});
