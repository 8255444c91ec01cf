import { expect, it } from 'vitest';
import { rankUtilities, snes } from '../../src/numerics/optimizers/snes.ts';
import { createOptimizer, linearReward, runSearch } from '../support/optimizers.ts';

const SHAPE = [4, 16, 16];

it('gives utilities by rank: they sum to 0, ignore the scale, and are shared by equal rewards', () => {
  const utilities = rankUtilities([3, 1, 2, 10]);
  expect(utilities.reduce((sum, value) => sum + value, 0)).toBeCloseTo(0, 12);
  expect(utilities).toEqual(rankUtilities([30, -5, 2.5, 1e6]));
  expect(utilities[3]).toBeGreaterThan(utilities[0]);
  expect(rankUtilities([1, 1, 1])).toEqual([0, 0, 0].map(() => expect.closeTo(0, 12)));
  const [a, b, c] = rankUtilities([5, 5, 1]);
  expect(a).toBe(b);
  expect(c).toBeLessThan(a);
});

it('moves its mean up a linear reward', () => {
  const reward = linearReward(1024);
  const optimizer = createOptimizer(snes, { shape: SHAPE, budget: 300 });
  runSearch(optimizer, 300, reward);
  expect(reward(optimizer.policy().mean)).toBeGreaterThan(1);
});

it('does not move on a constant reward', () => {
  const optimizer = createOptimizer(snes, { shape: SHAPE, budget: 30 });
  runSearch(optimizer, 30, () => 7);
  expect(Math.max(...optimizer.policy().mean.map(Math.abs))).toBeLessThan(1e-6);
});
