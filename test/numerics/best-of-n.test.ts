import { expect, it } from 'vitest';
import { STREAMS } from '../../src/core/noise.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { bestOfN } from '../../src/numerics/optimizers/best-of-n.ts';
import { createOptimizer, linearReward, runSearch } from '../support/optimizers.ts';

const D = 32;
const linear = linearReward(D);

it('lists the best noise keys, best first, with their rewards', () => {
  const optimizer = createOptimizer(bestOfN, { budget: 50 }, { keep: 3 });
  runSearch(optimizer, 50, linear);
  const best = optimizer.summary().best as {
    seed: number;
    stream: number;
    index: number;
    reward: number;
  }[];
  const all = Array.from({ length: 50 }, (_, index) =>
    linear(standardNormal({ seed: 3, stream: STREAMS.search, index }, D)),
  ).sort((a, b) => b - a);
  expect(best.map(({ reward }) => reward)).toEqual(all.slice(0, 3));
  for (const { reward, ...key } of best) expect(linear(standardNormal(key, D))).toBe(reward);
});
