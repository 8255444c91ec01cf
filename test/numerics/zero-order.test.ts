import { expect, it } from 'vitest';
import { zeroOrder } from '../../src/numerics/optimizers/zero-order.ts';
import { cosine, createOptimizer, type Iteration, linearReward, runSearch } from '../support/optimizers.ts';

const D = 1024;

it('proposes neighbours of the best noise at the cosine c, and moves to a better one only', () => {
  const optimizer = createOptimizer(zeroOrder, { shape: [4, 16, 16], budget: 80 }, { batchSize: 8, c: 0.95 });
  const iterations: Iteration[] = [];
  runSearch(optimizer, 80, linearReward(D), (iteration) => iterations.push(iteration));
  let pivot = { noise: new Float32Array(D), reward: Number.NEGATIVE_INFINITY };
  for (const [i, { proposals, rewards }] of iterations.entries()) {
    if (i > 0) {
      for (const { values } of proposals) expect(cosine(values, pivot.noise)).toBeCloseTo(0.95, 1);
    }
    for (const [j, reward] of rewards.entries()) {
      if (reward > pivot.reward) pivot = { noise: Float32Array.from(proposals[j].values), reward };
    }
  }
});
