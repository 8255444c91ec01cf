import { describe, expect, it } from 'vitest';
import { STREAMS } from '../../src/core/noise.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { onShell } from '../../src/numerics/optimizers/elite.ts';
import type { Optimizer, Proposal } from '../../src/numerics/optimizers/optimizer.ts';
import { findOptimizer } from '../../src/numerics/optimizers/registry.ts';
import { Sketch } from '../../src/numerics/optimizers/sketch.ts';
import { rankUtilities } from '../../src/numerics/optimizers/snes.ts';

const SHAPE = [4, 16, 16];
const D = 1024;
const create = (name: string, budget: number, parameters = {}) => {
  const definition = findOptimizer(name);
  const defaults = Object.fromEntries(
    Object.entries(definition.parameters).map(([key, parameter]) => [key, parameter.default]),
  );
  return definition.create(
    { shape: SHAPE, seed: 3, budget, promptEmbedding: Float32Array.of(1) },
    { ...defaults, ...parameters },
  );
};
const direction = onShell(standardNormal({ seed: 99, stream: STREAMS.samples, index: 0 }, D));
const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const cosine = (a: Float32Array, b: Float32Array) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
const reward = (noise: Float32Array) => dot(noise, direction) / Math.sqrt(D);

/** Runs to the end; returns the proposals of each iteration with their rewards. */
function run(optimizer: Optimizer, budget: number): { proposals: Proposal[]; rewards: number[] }[] {
  const iterations = [];
  for (let spent = 0; spent < budget; ) {
    const proposals = optimizer.ask(Math.min(optimizer.batchSize(), budget - spent));
    const rewards = proposals.map(({ values: noise }) => reward(noise));
    optimizer.tell(rewards);
    iterations.push({ proposals, rewards });
    spent += proposals.length;
  }
  return iterations;
}

describe('genetic', () => {
  it('makes children of two parents of the population, on the shell', () => {
    const iterations = run(create('genetic', 60, { population: 20, mutationC: 0.95 }), 60);
    const first = iterations.slice(0, 2).flatMap(({ proposals }) => proposals);
    expect(first).toHaveLength(20);
    for (const { values: noise } of iterations[2].proposals) {
      const cosines = first.map((parent) => cosine(parent.values, noise)).sort((a, b) => b - a);
      // Two parents mixed and mutated: w and 1 - w of them, times 0.95 over the norm; or one parent twice.
      expect(Math.hypot(cosines[0], cosines[1])).toBeGreaterThan(0.85);
      expect(dot(noise, noise) / D).toBeGreaterThan(0.9);
      expect(dot(noise, noise) / D).toBeLessThan(1.1);
    }
  });

  it('lets the best live on: the best of the population never gets worse, and its distribution sits on the last population', () => {
    const optimizer = create('genetic', 200);
    let best = Number.NEGATIVE_INFINITY;
    for (let spent = 0; spent < 200; ) {
      const proposals = optimizer.ask(Math.min(optimizer.batchSize(), 200 - spent));
      optimizer.tell(proposals.map(({ values: noise }) => reward(noise)));
      spent += proposals.length;
      const { population } = optimizer.summary() as { population: { reward: number }[] };
      if (population.length === 0) continue;
      expect(population[0].reward).toBeGreaterThanOrEqual(best);
      best = population[0].reward;
    }
    const { population } = optimizer.summary() as { population: { reward: number }[] };
    expect(population).toHaveLength(20);
    const distribution = optimizer.policy();
    expect(distribution.weights).toHaveLength(20);
    const centre = distribution.mean.subarray(0, D);
    expect(reward(onShell(centre))).toBeCloseTo(population[0].reward, 0);
  });
});

describe('zero-order', () => {
  it('asks for neighbours of the best noise so far at its cosine, and moves only when one is better', () => {
    const iterations = run(create('zero-order', 80, { batchSize: 8, c: 0.95 }), 80);
    let pivot: { noise: Float32Array; reward: number } = {
      noise: new Float32Array(D),
      reward: Number.NEGATIVE_INFINITY,
    };
    for (const [i, { proposals, rewards }] of iterations.entries()) {
      if (i > 0) {
        for (const { values: noise } of proposals) expect(cosine(noise, pivot.noise)).toBeCloseTo(0.95, 1);
      }
      for (const [j, value] of rewards.entries()) {
        if (value > pivot.reward) pivot = { noise: proposals[j].values, reward: value };
      }
    }
  });
});

describe('snes', () => {
  it('gives utilities by rank: they sum to 0, do not depend on scale, and ties share', () => {
    const utilities = rankUtilities([3, 1, 2, 10]);
    expect(utilities.reduce((sum, value) => sum + value, 0)).toBeCloseTo(0, 12);
    expect(utilities).toEqual(rankUtilities([30, -5, 2.5, 1e6]));
    expect(utilities[3]).toBeGreaterThan(utilities[0]);
    expect(rankUtilities([1, 1, 1])).toEqual([0, 0, 0].map(() => expect.closeTo(0, 12)));
    const [a, b, c] = rankUtilities([5, 5, 1]);
    expect(a).toBe(b);
    expect(c).toBeLessThan(a);
  });

  it('moves its mean up a linear reward, and not at all on a constant one', () => {
    const optimizer = create('snes', 300);
    run(optimizer, 300);
    expect(reward(optimizer.policy().mean)).toBeGreaterThan(1);
    const still = create('snes', 30);
    for (let i = 0; i < 2; i++) still.tell(still.ask(15).map(() => 7));
    expect(Math.max(...still.policy().mean.map(Math.abs))).toBeLessThan(1e-6);
  });
});

describe('a sketch', () => {
  it('keeps distances on average, and is the same for the same seed', () => {
    const squares = Array.from({ length: 40 }, (_, i) => {
      const sketch = new Sketch(D, 32, i, 0);
      return dot(sketch.of(direction), sketch.of(direction)) / 32;
    });
    expect(squares.reduce((a, b) => a + b) / 40).toBeCloseTo(1, 0);
    expect(new Sketch(D, 32, 5, 0).of(direction)).toEqual(new Sketch(D, 32, 5, 0).of(direction));
    expect(new Sketch(D, 32, 5, 0).of(direction)).not.toEqual(new Sketch(D, 32, 5, 1).of(direction));
    expect(new Sketch(3, 32, 5, 0).size).toBe(3);
  });
});
