import { describe, expect, it } from 'vitest';
import { STREAMS } from '../../src/core/noise.ts';
import { checkDistribution } from '../../src/numerics/distributions/noise-distribution.ts';
import { sampleNoise } from '../../src/numerics/distributions/sample.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import type { OptimizerState } from '../../src/numerics/optimizers/optimizer.ts';
import { DEFAULT_OPTIMIZER, findOptimizer, OPTIMIZERS } from '../../src/numerics/optimizers/registry.ts';
import { createOptimizer, linearReward, runSearch, transportState } from '../support/optimizers.ts';

const D = 32;
const linear = linearReward(D);

describe('the registry', () => {
  it('lists the optimizers, gp as the default first', () => {
    expect(OPTIMIZERS.map(({ name }) => name)).toEqual([
      'gp',
      'elites',
      'find',
      'genetic',
      'snes',
      'zero-order',
      'best-of-n',
    ]);
    expect(DEFAULT_OPTIMIZER).toBe('gp');
  });

  it('finds gp by its earlier name', () => {
    const [alias] = findOptimizer('gp').aliases ?? [];
    expect(findOptimizer(alias)).toBe(findOptimizer('gp'));
  });

  it('lists the accepted names in the error for an unknown one', () => {
    expect(() => findOptimizer('sgd')).toThrow(
      /"sgd".*gp, elites, find, genetic, snes, zero-order, best-of-n/,
    );
  });

  it.each(OPTIMIZERS.map((definition) => [definition.name, definition] as const))(
    'has defaults within their ranges for %s',
    (_, { parameters }) => {
      for (const parameter of Object.values(parameters)) {
        if (parameter.type === 'boolean') continue;
        expect(parameter.default).toBeGreaterThanOrEqual(parameter.minimum);
        expect(parameter.default).toBeLessThanOrEqual(parameter.maximum);
      }
    },
  );
});

describe.each(OPTIMIZERS.map((definition) => [definition.name, definition] as const))(
  '%s',
  (_, definition) => {
    it('leaves proposals without rewards out of its state', () => {
      const optimizer = createOptimizer(definition, { budget: 40 });
      runSearch(optimizer, 20, linear);
      const before = structuredClone(optimizer.state());
      optimizer.ask(optimizer.batchSize());
      expect(optimizer.state()).toEqual(before);
    });

    it('has a valid distribution at any time, which is N(0, I) before the first rewards', () => {
      const optimizer = createOptimizer(definition, { budget: 20 });
      const distribution = optimizer.policy();
      checkDistribution(distribution);
      expect(sampleNoise(distribution, { seed: 1, stream: 2, index: 3 })).toEqual(
        standardNormal({ seed: 1, stream: 2, index: 3 }, D),
      );
      runSearch(optimizer, 20, linear, () => checkDistribution(optimizer.policy()));
    });

    it.each([1, 2, 3, 7, 40])('works with a budget of %i images', (budget) => {
      const optimizer = createOptimizer(definition, { budget });
      runSearch(optimizer, budget, linear);
      checkDistribution(optimizer.policy());
      JSON.stringify(optimizer.summary());
    });

    it('works with rewards that are all the same', () => {
      const optimizer = createOptimizer(definition, { budget: 40 });
      runSearch(optimizer, 40, () => 1);
      checkDistribution(optimizer.policy());
    });

    it('proposes the same noises with the same seed and others with another seed', () => {
      const noisesOf = (seed: number) =>
        createOptimizer(definition, { budget: 40, seed })
          .ask(4)
          .map(({ values }) => [...values]);
      expect(noisesOf(5)).toEqual(noisesOf(5));
      expect(noisesOf(5)).not.toEqual(noisesOf(6));
    });

    it('never proposes a noise twice, nor a noise of the report or of the samples', () => {
      const optimizer = createOptimizer(definition, { budget: 60 });
      const seen = new Set<string>();
      runSearch(optimizer, 60, linear, ({ proposals }) => {
        for (const { key, values } of proposals) {
          expect([STREAMS.search, STREAMS.heldOut]).toContain(key.stream);
          seen.add(values.join());
        }
      });
      expect(seen.size).toBe(60);
    });

    it.each([1, 4, 9, 12])('continues from a snapshot after iteration %i to the same bits', (cut) => {
      const budget = 60;
      const create = () => createOptimizer(definition, { budget }, { batchSize: 5 });
      const undisturbed = create();
      const interrupted = create();
      let snapshot: OptimizerState | undefined;
      let spentAtCut = 0;
      let iteration = 0;
      runSearch(interrupted, budget, linear, ({ spent }) => {
        if (++iteration === cut) [snapshot, spentAtCut] = [transportState(interrupted.state()), spent];
      });
      runSearch(undisturbed, budget, linear);

      const resumed = create();
      resumed.restore(snapshot as OptimizerState);
      runSearch(resumed, budget, linear, undefined, spentAtCut);
      expect(resumed.policy()).toEqual(undisturbed.policy());
      expect(resumed.summary()).toEqual(undisturbed.summary());
    });
  },
);
