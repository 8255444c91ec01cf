import { describe, expect, it } from 'vitest';
import { BatchSizes, paddedSizes } from '../../src/engine/batch-sizes.ts';
import type { ModelSpec } from '../../src/engine/generation-spec.ts';
import type { EngineOptions } from '../../src/engine/messages.ts';

const options = (provider: string, batchSize: number): EngineOptions => ({
  executionProviders: [provider],
  threads: 1,
  batchSize,
});
const work = (side = 16, guidanceScale = 4, name = 'a') => ({
  model: { name, path: `/models/${name}` } as ModelSpec,
  latentShape: [4, side, side],
  sampler: {
    scheduler: 'ddim',
    steps: 2,
    guidanceScale,
    eta: 0,
    clipSkip: 0,
    width: side * 8,
    height: side * 8,
  },
});

describe('the batch sizes', () => {
  it.each([
    [1, [1]],
    [2, [1, 2]],
    [6, [1, 2, 4, 6]],
    [8, [1, 2, 4, 8]],
    [9, [1, 2, 4, 8, 9]],
  ])('of padded runs are the powers of two up to the limit %i, and the limit', (limit, sizes) => {
    expect(paddedSizes(limit)).toEqual(sizes);
  });

  it('are few if kernels are chosen for each shape, and all up to the limit on the CPU', () => {
    const [cuda, cpu] = [new BatchSizes(options('cuda', 6)), new BatchSizes(options('cpu', 6))];
    expect([1, 2, 3, 4, 5, 6].map((count) => cuda.sizeFor(count, work()))).toEqual([1, 2, 4, 4, 6, 6]);
    expect([1, 2, 3, 4, 5, 6].map((count) => cpu.sizeFor(count, work()))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(cuda.sizes(work())).toEqual([1, 2, 4, 6]);
  });

  it('are limited for large pictures on the CPU only', () => {
    const [cuda, cpu] = [new BatchSizes(options('cuda', 8)), new BatchSizes(options('cpu', 8))];
    expect(cuda.limit(work(64))).toBe(8);
    expect([work(64), work(64, 1), work(32), work(128), work(16)].map((one) => cpu.limit(one))).toEqual([
      1, 2, 4, 1, 8,
    ]);
  });
});

describe('the noises of a request that share runs', () => {
  const shared = (provider: string, batchSize: number, changes: Partial<EngineOptions> = {}) => {
    const sizes = new BatchSizes({ ...options(provider, batchSize), ...changes });
    return [1, 3, 4, 7, 8, 11, 12, 40].map((count) => sizes.sharedCount(count, work()));
  };

  it('are all but a rest of less than half a run', () => {
    expect(shared('cuda', 8)).toEqual([0, 0, 4, 7, 8, 8, 12, 40]);
    expect(shared('cuda', 1)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('are none on the CPU, unless the setting asks for it', () => {
    expect(shared('cpu', 8)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(shared('cpu', 8, { sharedBatches: true })).toEqual(shared('cuda', 8));
    expect(shared('cuda', 8, { sharedBatches: false })).toEqual(shared('cpu', 8));
  });
});

describe('a graph run that does not fit into memory', () => {
  it('halves the limit for this model, picture size and guidance only', () => {
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

  it('reduces the limit to the next smaller size of padded runs', () => {
    const sizes = new BatchSizes(options('cuda', 6));
    expect([sizes.halve(6, work()), sizes.halve(4, work()), sizes.halve(2, work())]).toEqual([4, 2, 1]);
    expect(sizes.sizes(work())).toEqual([1]);
  });
});
