import { describe, expect, it } from 'vitest';
import { STREAMS } from '../../src/core/noise.ts';
import { checkDistribution } from '../../src/numerics/distributions/check.ts';
import type { NoiseDistribution } from '../../src/numerics/distributions/noise-distribution.ts';
import { sampleNoise } from '../../src/numerics/distributions/sample.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import type {
  Optimizer,
  OptimizerDefinition,
  OptimizerState,
} from '../../src/numerics/optimizers/optimizer.ts';
import { DEFAULT_OPTIMIZER, findOptimizer, OPTIMIZERS } from '../../src/numerics/optimizers/registry.ts';
import { mean } from '../../src/numerics/statistics.ts';

const SHAPE = [2, 4, 4];
const D = 32;
const problem = (budget: number, seed = 3) => ({
  shape: SHAPE,
  seed,
  budget,
  promptEmbedding: Float32Array.of(0.5, -1, 2),
});
const defaults = (definition: OptimizerDefinition) =>
  Object.fromEntries(
    Object.entries(definition.parameters).map(([name, parameter]) => [name, parameter.default]),
  );
const create = (name: string, budget: number, parameters = {}, seed = 3) => {
  const definition = findOptimizer(name);
  return definition.create(problem(budget, seed), { ...defaults(definition), ...parameters });
};

/** A reward that is linear in the noise: the part of a landscape that a single Gaussian can learn. */
const direction = standardNormal({ seed: 99, stream: STREAMS.samples, index: 0 }, D).map(
  (value) => value / Math.sqrt(D),
);
const linear = (noise: Float32Array) => noise.reduce((sum, value, i) => sum + value * direction[i], 0);

function run(
  optimizer: Optimizer,
  budget: number,
  reward: (noise: Float32Array) => number,
  onIteration?: (spent: number) => void,
): void {
  for (let spent = 0; spent < budget; ) {
    const proposals = optimizer.ask(Math.min(optimizer.batchSize(), budget - spent));
    optimizer.tell(proposals.map(({ values: noise }) => reward(noise)));
    spent += proposals.length;
    onIteration?.(spent);
  }
}

/** Mean reward of fresh draws. */
const judge = (distribution: NoiseDistribution, reward: (noise: Float32Array) => number, count = 400) =>
  mean(
    Array.from({ length: count }, (_, index) =>
      reward(sampleNoise(distribution, { seed: 3, stream: STREAMS.report, index })),
    ),
  );

const transported = (state: OptimizerState): OptimizerState => ({
  values: JSON.parse(JSON.stringify(state.values)),
  tensors: Object.fromEntries(Object.entries(state.tensors).map(([name, data]) => [name, data.slice()])),
});

describe('the registry', () => {
  it('has the optimizers of the paper and ours, gp first', () => {
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

  it('names what there is when asked for something else', () => {
    expect(() => findOptimizer('sgd')).toThrow(
      /"sgd".*gp, elites, find, genetic, snes, zero-order, best-of-n/,
    );
  });

  it.each(OPTIMIZERS.map((definition) => [definition.name, definition] as const))(
    '%s: every default lies in its range',
    (_, { parameters }) => {
      for (const parameter of Object.values(parameters)) {
        if (parameter.type === 'boolean') continue;
        expect(parameter.default).toBeGreaterThanOrEqual(parameter.minimum);
        expect(parameter.default).toBeLessThanOrEqual(parameter.maximum);
      }
    },
  );
});

describe.each(OPTIMIZERS.map(({ name }) => name))('%s', (name) => {
  it('has in its state nothing of what was asked and not told: a search that fails there goes on as if it had not asked', () => {
    const optimizer = create(name, 40);
    run(optimizer, 20, linear);
    const told = structuredClone(optimizer.state());
    optimizer.ask(optimizer.batchSize());
    expect(optimizer.state()).toEqual(told);
  });

  it('has a distribution at any time: N(0, I) before it was told anything', () => {
    const optimizer = create(name, 20);
    const distribution = optimizer.policy();
    checkDistribution(distribution);
    expect(sampleNoise(distribution, { seed: 1, stream: 2, index: 3 })).toEqual(
      standardNormal({ seed: 1, stream: 2, index: 3 }, D),
    );
    run(optimizer, 20, linear, () => checkDistribution(optimizer.policy()));
  });

  it.each([1, 2, 3, 7, 40])('works with a budget of %i images', (budget) => {
    const optimizer = create(name, budget);
    run(optimizer, budget, linear);
    checkDistribution(optimizer.policy());
    JSON.stringify(optimizer.summary());
  });

  it('does not mind rewards that are all the same', () => {
    const optimizer = create(name, 40);
    run(optimizer, 40, () => 1);
    checkDistribution(optimizer.policy());
  });

  it('asks for the same noises again with the same seed, for others with another', () => {
    const noises = (seed: number) =>
      create(name, 40, {}, seed)
        .ask(4)
        .map(({ values: noise }) => [...noise]);
    expect(noises(5)).toEqual(noises(5));
    expect(noises(5)).not.toEqual(noises(6));
  });

  it('never asks for a key of the report or the samples, nor for one key twice', () => {
    const optimizer = create(name, 60);
    const seen = new Set<string>();
    for (let spent = 0; spent < 60; ) {
      const proposals = optimizer.ask(Math.min(optimizer.batchSize(), 60 - spent));
      for (const { key, values: noise } of proposals) {
        expect([STREAMS.search, STREAMS.heldOut]).toContain(key.stream);
        seen.add(noise.join());
      }
      optimizer.tell(proposals.map(({ values: noise }) => linear(noise)));
      spent += proposals.length;
    }
    expect(seen.size).toBe(60);
  });

  it.each([1, 4, 9, 12])('goes on from a snapshot after iteration %i to the same bits', (cut) => {
    const budget = 60;
    const undisturbed = create(name, budget, { batchSize: 5 });
    const interrupted = create(name, budget, { batchSize: 5 });
    let snapshot: OptimizerState | undefined;
    let at = 0;
    let iteration = 0;
    run(interrupted, budget, linear, (spent) => {
      if (++iteration === cut) [snapshot, at] = [transported(interrupted.state()), spent];
    });
    run(undisturbed, budget, linear);

    const resumed = create(name, budget, { batchSize: 5 });
    resumed.restore(snapshot as OptimizerState);
    run(resumed, budget - at, linear);
    expect(resumed.policy()).toEqual(undisturbed.policy());
    expect(resumed.summary()).toEqual(undisturbed.summary());
  });
});

describe('best-of-n', () => {
  it('keeps N(0, I) as its distribution and lists the best draws, best first, with their true rewards', () => {
    const optimizer = create('best-of-n', 50, { keep: 3 });
    run(optimizer, 50, linear);
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
});

describe('elites', () => {
  it.each([
    [0.1, 0.3],
    [0.5, 0.5],
    [0.8, 0.99],
  ])('takes any range of c: smallestC %d and largestC %d', (smallestC, largestC) => {
    const optimizer = create('elites', 50, { smallestC, largestC });
    run(optimizer, 50, linear, () => checkDistribution(optimizer.policy()));
    const c = optimizer.summary().c as number;
    expect(c).toBeGreaterThanOrEqual(smallestC);
    expect(c).toBeLessThanOrEqual(largestC);
  });

  it('stays wide where narrowing buys nothing that the held-out draws can tell', () => {
    const optimizer = create('elites', 150);
    run(optimizer, 150, (noise) => Math.sin(1e4 * noise[0])); // no two noises that are alike score alike
    expect(optimizer.summary().c).toBeLessThan(0.98);
  });

  it('learns a distribution whose fresh draws are better than the base', () => {
    const optimizer = create('elites', 150);
    run(optimizer, 150, linear);
    expect(judge(optimizer.policy(), linear) - judge(create('elites', 1).policy(), linear)).toBeGreaterThan(
      0.7,
    );
  });

  it('keeps the norm: every component has mean^2 + std^2 = 1', () => {
    const optimizer = create('elites', 150);
    run(optimizer, 150, linear);
    const { mean: means, std, weights } = optimizer.policy();
    for (let k = 0; k < weights.length; k++) {
      const energy =
        means.subarray(k * D, (k + 1) * D).reduce((sum, value) => sum + value * value, 0) / D + std[k] ** 2;
      expect(energy).toBeCloseTo(1, 5);
    }
  });

  it('takes at most `perFounder` components from one lineage', () => {
    const optimizer = create('elites', 150, { perFounder: 1, elites: 4 });
    run(optimizer, 150, linear);
    const { elites } = optimizer.summary() as { elites: { founder: number }[] };
    expect(elites).toHaveLength(4);
    expect(new Set(elites.map(({ founder }) => founder)).size).toBe(4);
  });

  it('chooses its width by held-out draws, all widths on the same noises', () => {
    const optimizer = create('elites', 150, { heldOut: 0.2 });
    const heldOut: string[] = [];
    for (let spent = 0; spent < 150; ) {
      const proposals = optimizer.ask(Math.min(optimizer.batchSize(), 150 - spent));
      for (const { key } of proposals) if (key.stream === STREAMS.heldOut) heldOut.push(String(key.index));
      optimizer.tell(proposals.map(({ values: noise }) => linear(noise)));
      spent += proposals.length;
    }
    const { c, heldOut: tried } = optimizer.summary() as {
      c: number;
      heldOut: { c: number; draws: number; mean: number }[];
    };
    expect(heldOut).toHaveLength(30);
    expect(new Set(heldOut).size).toBe(15);
    expect(tried.map(({ draws }) => draws)).toEqual([15, 15]);
    expect(tried.map((candidate) => candidate.c)).toContain(c);
    // On a linear reward each step towards the centre is plainly worth it: the narrowest distribution wins.
    expect(c).toBe(0.98);
  });
});
