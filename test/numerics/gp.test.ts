import { describe, expect, it } from 'vitest';
import { GaussianProcessSearch, gp } from '../../src/numerics/optimizers/gp.ts';
import { mean } from '../../src/numerics/statistics.ts';
import { Landscape } from '../support/gp-landscape.ts';
import {
  createOptimizer,
  defaultParameters,
  linearReward,
  runSearch,
  transportState,
} from '../support/optimizers.ts';

const D = 32;
const BUDGET = 1500;
const linear = linearReward(D);

describe('gp with more images than its lineages remember', () => {
  it('keeps a bounded number of noises and counts all', () => {
    const optimizer = createOptimizer(gp, { budget: BUDGET }, { batchSize: 16 });
    runSearch(optimizer, BUDGET, linear);
    const { tensors, values } = optimizer.state();
    for (const k of [0, 1]) expect(tensors[`lineage.${k}`].length).toBeLessThanOrEqual(256 * D);
    expect(values.dropped).toEqual([expect.any(Number), expect.any(Number)]);
    const { lineages } = optimizer.summary() as { lineages: { draws: number }[] };
    // 300 images are the warm-up, of which two are founders.
    expect(lineages.map(({ draws }) => draws)).toEqual([601, 601]);
  });

  it('goes on from a checkpoint to the same bits', () => {
    const whole = createOptimizer(gp, { budget: BUDGET }, { batchSize: 16 });
    runSearch(whole, BUDGET, linear);
    const first = createOptimizer(gp, { budget: BUDGET }, { batchSize: 16 });
    runSearch(first, 1100, linear);
    const second = createOptimizer(gp, { budget: BUDGET }, { batchSize: 16 });
    second.restore(transportState(first.state()));
    runSearch(second, BUDGET, linear, undefined, 1100);
    expect(second.state()).toEqual(whole.state());
    expect(second.policy()).toEqual(whole.policy());
  });

  it('stores nothing new below the bound', () => {
    const optimizer = createOptimizer(gp, { budget: 500 }, { batchSize: 16 });
    runSearch(optimizer, 500, linear);
    expect(Object.keys(optimizer.state().values)).toEqual(['count', 'warmUpRewards', 'founders', 'lineages']);
  });

  it('gains with 80 points nearly what it gains with all', () => {
    const budget = 300;
    const d = 512;
    const gain = (maxPoints?: number) =>
      mean(
        [1, 2, 3].map((seed) => {
          const landscape = new Landscape(seed);
          const settings = defaultParameters(gp) as ConstructorParameters<typeof GaussianProcessSearch>[1];
          const problem = { shape: [d], seed, budget, promptEmbedding: Float32Array.of(1) };
          const optimizer = new GaussianProcessSearch(problem, settings, maxPoints);
          const rewards: number[] = [];
          runSearch(
            optimizer,
            budget,
            (noise) => landscape.reward(noise),
            (iteration) => rewards.push(...iteration.rewards),
          );
          return mean(rewards.slice(-40));
        }),
      );
    expect(gain(80)).toBeGreaterThan(0.9 * gain());
  });
});
