import { describe, expect, it } from 'vitest';
import { STREAMS } from '../../src/core/noise.ts';
import { dot } from '../../src/numerics/dot.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { projectToShell } from '../../src/numerics/optimizers/elite.ts';
import { covariance, GaussianProcess, type Kernel } from '../../src/numerics/optimizers/gaussian-process.ts';
import { Lineage } from '../../src/numerics/optimizers/lineage.ts';

const D = 256;
const KERNEL: Kernel = { linear: 0.1, smooth: 0.7, power: 4, nugget: 0.2 };
const noiseAt = (index: number, d = D) =>
  projectToShell(standardNormal({ seed: 4, stream: STREAMS.samples, index }, d));
/** Of two noises on the shell. */
const cosine = (a: Float32Array, b: Float32Array) => dot(a, b) / a.length;
const cosinesOf = (noises: readonly Float32Array[]) =>
  noises.map((a) => Float64Array.from(noises, (b) => cosine(a, b)));

describe('the Gaussian process', () => {
  it('predicts from two rewards as the formula for two noises does', () => {
    const between = 0.6;
    const cosines = [Float64Array.of(1, between), Float64Array.of(between, 1)];
    const process = new GaussianProcess(KERNEL, cosines, [1.5, -0.5]);
    const shared = covariance(KERNEL, between);
    const determinant = 1 - shared * shared;
    const weights = [(1.5 + shared * 0.5) / determinant, (-0.5 - shared * 1.5) / determinant];
    const expected = weights[0] * covariance(KERNEL, 0.9) + weights[1] * covariance(KERNEL, 0.3);
    expect(process.predict(Float64Array.of(0.9, 0.3))).toBeCloseTo(expected, 12);
  });

  it('trusts a reward less with a larger nugget', () => {
    const predict = (nugget: number) =>
      new GaussianProcess({ ...KERNEL, smooth: 0.9 - nugget, nugget }, [Float64Array.of(1)], [2]).predict(
        Float64Array.of(1),
      );
    expect(predict(0.01)).toBeCloseTo(1.98, 10);
    expect(predict(0.5)).toBeCloseTo(1, 10);
  });

  it('climbs to a noise of norm 1 with a higher expected reward than any known noise', () => {
    const centre = noiseAt(0);
    const noises = [
      centre,
      ...Array.from({ length: 12 }, (_, i) =>
        projectToShell(centre.map((value, j) => 0.9 * value + 0.44 * noiseAt(i + 1)[j])),
      ),
    ];
    const cosines = cosinesOf(noises);
    const process = new GaussianProcess(
      KERNEL,
      cosines,
      noises.map((_, i) => 1 + 0.3 * Math.sin(i * 5)),
    );
    const known = cosines.map((row) => process.predict(row));
    const best = known.indexOf(Math.max(...known));
    const { coefficients, expected } = process.climb(best);
    const noise = centre.map((_, j) =>
      coefficients.reduce((sum, coefficient, i) => sum + coefficient * noises[i][j], 0),
    );
    expect(cosine(noise, noise)).toBeCloseTo(1, 4);
    expect(process.predict(Float64Array.from(noises, (other) => cosine(noise, other)))).toBeCloseTo(
      expected,
      4,
    );
    expect(expected).toBeGreaterThan(known[best] + 0.05);
  });

  it('stays at its start if it knows one noise only', () => {
    const { coefficients } = new GaussianProcess(KERNEL, [Float64Array.of(1)], [1]).climb(0);
    expect([...coefficients]).toEqual([1]);
  });
});

describe('a lineage', () => {
  const scale = { mean: 10, deviation: 2 };
  const build = (d = D) => {
    const lineage = new Lineage(KERNEL);
    lineage.add({ index: 3, reward: 12, founder: 3, noise: noiseAt(0, d) });
    for (let i = 1; i < 10; i++) {
      const noise = noiseAt(0, d).map((value, j) => 0.9 * value + 0.44 * noiseAt(i, d)[j]);
      lineage.add({ index: 3 + i, reward: 12 + Math.cos(i), founder: 3, noise });
    }
    return lineage;
  };

  it('has a centre that scores higher than its best point on a linear reward', () => {
    const uphill = noiseAt(77);
    const lineage = new Lineage({ linear: 0.8, smooth: 0.15, power: 4, nugget: 0.05 });
    const rewards: number[] = [];
    for (let i = 0; i < 30; i++) {
      const noise =
        i === 0
          ? noiseAt(0)
          : projectToShell(noiseAt(0).map((value, j) => 0.9 * value + 0.44 * noiseAt(i)[j]));
      rewards.push(16 * cosine(noise, uphill));
      lineage.add({ index: i, reward: rewards[i], founder: 0, noise });
    }
    expect(16 * cosine(lineage.centre({ mean: 0, deviation: 1 }), uphill)).toBeGreaterThan(
      Math.max(...rewards) + 0.3,
    );
  });

  it('has its centre on the shell and its expected reward in the units of the rewards', () => {
    const lineage = build();
    const noise = lineage.centre(scale);
    const expected = lineage.expected(scale);
    expect(cosine(noise, noise)).toBeCloseTo(1, 5);
    expect(expected).toBeGreaterThan(10);
    expect(expected).toBeLessThan(16);
  });

  it('has its anchor on the shell between its best point and its centre', () => {
    const lineage = build();
    const best = lineage.points.toSorted((a, b) => b.reward - a.reward)[0].noise;
    const centre = lineage.centre(scale);
    const anchor = lineage.anchor(scale, 0.5);
    const half = Math.cos(Math.acos(cosine(best, centre)) / 2);
    expect(cosine(anchor, anchor)).toBeCloseTo(1, 5);
    expect(cosine(anchor, centre)).toBeCloseTo(half, 5);
    expect(cosine(anchor, best)).toBeCloseTo(half, 5);
    expect(lineage.anchor(scale, 1)).toEqual(centre);
    expect(cosine(lineage.anchor(scale, 0), best)).toBeCloseTo(1, 5);
  });

  it('is the same to the bit after a checkpoint', () => {
    const lineage = build();
    const { values, noises } = lineage.state(D);
    const again = Lineage.restore(JSON.parse(JSON.stringify(values)), noises.slice(), D, KERNEL);
    expect(again.centre(scale)).toEqual(lineage.centre(scale));
    expect(again.anchor(scale, 0.5)).toEqual(lineage.anchor(scale, 0.5));
  });
});

describe('the window of a lineage', () => {
  const scale = { mean: 0, deviation: 1 };
  const point = (index: number) => ({
    index,
    founder: 0,
    reward: index === 3 ? 9 : Math.sin(index),
    noise: projectToShell(noiseAt(0).map((value, j) => 0.9 * value + 0.44 * noiseAt(index)[j])),
  });
  const grow = (lineage: Lineage, from: number, to: number) => {
    for (let index = from; index < to; index++) lineage.add(point(index));
    return lineage;
  };

  it('changes nothing until it is full', () => {
    const [unbounded, full] = [grow(new Lineage(KERNEL), 0, 20), grow(new Lineage(KERNEL, 20), 0, 20)];
    expect(full.dropped).toBe(0);
    expect(full.centre(scale)).toEqual(unbounded.centre(scale));
    expect(grow(full, 20, 21).centre(scale)).not.toEqual(grow(unbounded, 20, 21).centre(scale));
  });

  it('holds the best point and the latest ones', () => {
    const lineage = grow(new Lineage(KERNEL, 20), 0, 100);
    const indices = lineage.points.map(({ index }) => index);
    expect(indices.length).toBeLessThanOrEqual(20);
    expect(indices[0]).toBe(3);
    expect(indices.slice(1)).toEqual(indices.slice(1).map((_, i) => 100 - (indices.length - 1) + i));
    expect(lineage.dropped + indices.length).toBe(100);
    expect(cosine(lineage.anchor(scale, 0), point(3).noise)).toBeCloseTo(1, 5);
  });

  it('is the same to the bit after a checkpoint', () => {
    const lineage = grow(new Lineage(KERNEL, 20), 0, 47);
    const { values, noises } = lineage.state(D);
    const again = Lineage.restore(values, noises, D, KERNEL, 20, lineage.dropped);
    for (const each of [lineage, again]) grow(each, 47, 90);
    expect(again.dropped).toBe(lineage.dropped);
    expect(again.centre(scale)).toEqual(lineage.centre(scale));
  });

  it('takes up more points than it holds from an earlier checkpoint', () => {
    const { values, noises } = grow(new Lineage(KERNEL), 0, 47).state(D);
    const bounded = grow(new Lineage(KERNEL, 20), 0, 47);
    const again = Lineage.restore(values, noises, D, KERNEL, 20);
    expect(again.dropped).toBe(bounded.dropped);
    expect(again.centre(scale)).toEqual(bounded.centre(scale));
  });
});
