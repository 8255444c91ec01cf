import { describe, expect, it } from 'vitest';
import { STREAMS } from '../../src/core/noise.ts';
import { sampleNoise } from '../../src/numerics/distributions/sample.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { blend } from '../../src/numerics/optimizers/elite.ts';
import { findOptimizer } from '../../src/numerics/optimizers/registry.ts';
import { mean } from '../../src/numerics/statistics.ts';
import { covariance, Landscape } from '../support/gp-landscape.ts';
import { createOptimizer, runSearch } from '../support/optimizers.ts';

/** Latents of Stable Diffusion 1.5. */
const SHAPE = [4, 64, 64];
const D = 16_384;
const BUDGET = 150;
const SEEDS = [1, 2, 3, 4];
const SAMPLES = 24;

interface Outcome {
  /** Mean difference of the rewards of the learned distribution and of N(0, I), on new samples. */
  readonly gain: number;
  /** The best reward of the search. */
  readonly best: number;
}

function search(name: string, seed: number, budget: number): Outcome {
  const landscape = new Landscape(seed);
  const promptEmbedding = Float32Array.of(1);
  const optimizer = createOptimizer(findOptimizer(name), { shape: SHAPE, seed, budget, promptEmbedding });
  let best = Number.NEGATIVE_INFINITY;
  runSearch(
    optimizer,
    budget,
    (noise) => landscape.reward(noise),
    ({ rewards }) => {
      best = Math.max(best, ...rewards);
    },
  );
  const distribution = optimizer.policy();
  const differences = Array.from({ length: SAMPLES }, (_, index) => {
    const key = { seed, stream: STREAMS.report, index };
    return landscape.reward(sampleNoise(distribution, key)) - landscape.reward(standardNormal(key, D));
  });
  return { gain: mean(differences), best };
}

describe('the landscape', () => {
  it('has the correlations of Stable Diffusion 1.5: 0.70 at cosine 0.98, 0.62 at 0.95', () => {
    expect(covariance(0.98)).toBeCloseTo(0.7, 2);
    expect(covariance(0.95)).toBeCloseTo(0.62, 2);
    const pairs = Array.from({ length: 300 }, (_, i) => {
      const landscape = new Landscape(1000 + i);
      const noise = standardNormal({ seed: i, stream: 3, index: 0 }, 512);
      const near = blend(noise, standardNormal({ seed: i, stream: 3, index: 1 }, 512), 0.95);
      return [landscape.reward(noise), landscape.reward(near)];
    });
    expect(mean(pairs.map(([a]) => a * a))).toBeGreaterThan(0.8);
    expect(mean(pairs.map(([a]) => a * a))).toBeLessThan(1.2);
    expect(mean(pairs.map(([a, b]) => a * b))).toBeGreaterThan(0.45);
    expect(mean(pairs.map(([a, b]) => a * b))).toBeLessThan(0.8);
  });

  it('gives a noise the same reward again', () => {
    const landscape = new Landscape(1);
    const noise = standardNormal({ seed: 1, stream: 3, index: 0 }, 512);
    expect(landscape.reward(noise)).toBeCloseTo(landscape.reward(noise), 2);
  });
});

describe(`on a Gaussian-process landscape in ${D} dimensions with ${BUDGET} images`, () => {
  const outcomes = new Map<string, Outcome[]>();
  const outcomesOf = (name: string): Outcome[] => {
    const known = outcomes.get(name) ?? SEEDS.map((seed) => search(name, seed, BUDGET));
    outcomes.set(name, known);
    return known;
  };
  const gain = (name: string) => mean(outcomesOf(name).map(({ gain }) => gain));

  it('find (a Gaussian at the origin) and random search gain almost nothing on new samples', () => {
    expect(Math.abs(gain('find'))).toBeLessThan(0.35);
    expect(Math.abs(gain('best-of-n'))).toBeLessThan(0.35);
  });

  it.each(['elites', 'genetic', 'snes', 'zero-order', 'gp'])('%s gains much more', (name) => {
    expect(gain(name)).toBeGreaterThan(1);
  });

  it('gp gains five times as much as find, more than the others and the best of random search', () => {
    expect(gain('gp')).toBeGreaterThan(5 * Math.max(0, gain('find')));
    for (const other of ['elites', 'genetic', 'snes', 'zero-order'])
      expect(gain('gp'), other).toBeGreaterThan(gain(other));
    expect(gain('gp')).toBeGreaterThan(mean(outcomesOf('best-of-n').map(({ best }) => best)));
  });

  it('gp gains more than the others with 50 images, too', () => {
    const gainOf = (name: string) => mean(SEEDS.map((seed) => search(name, seed, 50).gain));
    const ours = gainOf('gp');
    for (const other of ['elites', 'genetic', 'zero-order', 'find'])
      expect(ours, other).toBeGreaterThan(gainOf(other));
  });
});
