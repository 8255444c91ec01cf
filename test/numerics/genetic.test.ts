import { expect, it } from 'vitest';
import { dot } from '../../src/numerics/dot.ts';
import { projectToShell } from '../../src/numerics/optimizers/elite.ts';
import { genetic } from '../../src/numerics/optimizers/genetic.ts';
import { cosine, createOptimizer, type Iteration, linearReward, runSearch } from '../support/optimizers.ts';

const SHAPE = [4, 16, 16];
const D = 1024;
const reward = linearReward(D);

it('makes children of two parents of the population, on the shell', () => {
  const optimizer = createOptimizer(
    genetic,
    { shape: SHAPE, budget: 60 },
    { population: 20, mutationC: 0.95 },
  );
  const iterations: Iteration[] = [];
  runSearch(optimizer, 60, reward, (iteration) => iterations.push(iteration));
  const first = iterations.slice(0, 2).flatMap(({ proposals }) => proposals);
  expect(first).toHaveLength(20);
  for (const { values: noise } of iterations[2].proposals) {
    const cosines = first.map((parent) => cosine(parent.values, noise)).sort((a, b) => b - a);
    // The child is 0.95 times its parents' crossover, w and 1 - w of them over its norm, or of one
    // parent twice.
    expect(Math.hypot(cosines[0], cosines[1])).toBeGreaterThan(0.85);
    expect(dot(noise, noise) / D).toBeGreaterThan(0.9);
    expect(dot(noise, noise) / D).toBeLessThan(1.1);
  }
});

it('keeps the best of the population, and anchors its distribution at the last population', () => {
  const optimizer = createOptimizer(genetic, { shape: SHAPE, budget: 200 });
  const populationOf = () => optimizer.summary().population as { reward: number }[];
  let best = Number.NEGATIVE_INFINITY;
  runSearch(optimizer, 200, reward, () => {
    const population = populationOf();
    if (population.length === 0) return;
    expect(population[0].reward).toBeGreaterThanOrEqual(best);
    best = population[0].reward;
  });
  const population = populationOf();
  expect(population).toHaveLength(20);
  const distribution = optimizer.policy();
  expect(distribution.weights).toHaveLength(20);
  const anchor = distribution.mean.subarray(0, D);
  expect(reward(projectToShell(anchor))).toBeCloseTo(population[0].reward, 0);
});
