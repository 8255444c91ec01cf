import { describe, expect, it } from 'vitest';
import { STREAMS } from '../../src/core/noise.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { onShell } from '../../src/numerics/optimizers/elite.ts';
import { covariance, GaussianProcess, type Kernel } from '../../src/numerics/optimizers/gaussian-process.ts';
import { Lineage } from '../../src/numerics/optimizers/lineage.ts';

const D = 256;
const KERNEL: Kernel = { linear: 0.1, smooth: 0.7, power: 4, nugget: 0.2 };
const noiseAt = (index: number, d = D) =>
  onShell(standardNormal({ seed: 4, stream: STREAMS.samples, index }, d));
const dot = (a: Float32Array, b: Float32Array) =>
  a.reduce((sum, value, i) => sum + value * b[i], 0) / a.length;
const gram = (noises: readonly Float32Array[]) =>
  noises.map((a) => Float64Array.from(noises, (b) => dot(a, b)));

describe('the Gaussian process', () => {
  it('predicts, from two rewards, what the formula for two says', () => {
    const cosine = 0.6;
    const cosines = [Float64Array.of(1, cosine), Float64Array.of(cosine, 1)];
    const process = new GaussianProcess(KERNEL, cosines, [1.5, -0.5]);
    const [own, between] = [1, covariance(KERNEL, cosine)];
    const determinant = own * own - between * between;
    const weights = [(own * 1.5 + between * 0.5) / determinant, (-own * 0.5 - between * 1.5) / determinant];
    const expected = weights[0] * covariance(KERNEL, 0.9) + weights[1] * covariance(KERNEL, 0.3);
    expect(process.predict(Float64Array.of(0.9, 0.3))).toBeCloseTo(expected, 12);
  });

  it('trusts a reward less the larger the nugget', () => {
    const predict = (nugget: number) =>
      new GaussianProcess({ ...KERNEL, smooth: 0.9 - nugget, nugget }, [Float64Array.of(1)], [2]).predict(
        Float64Array.of(1),
      );
    expect(predict(0.01)).toBeCloseTo(1.98, 10);
    expect(predict(0.5)).toBeCloseTo(1, 10);
  });

  it('climbs to a noise of norm 1 that it expects more of than of any it knows', () => {
    const centre = noiseAt(0);
    const noises = [
      centre,
      ...Array.from({ length: 12 }, (_, i) =>
        onShell(centre.map((value, j) => 0.9 * value + 0.44 * noiseAt(i + 1)[j])),
      ),
    ];
    const cosines = gram(noises);
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
    expect(dot(noise, noise)).toBeCloseTo(1, 4);
    expect(process.predict(Float64Array.from(noises, (other) => dot(noise, other)))).toBeCloseTo(expected, 4);
    expect(expected).toBeGreaterThan(known[best] + 0.05);
  });

  it('stays where it is when it knows one noise only', () => {
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

  it('finds, in a linear landscape, a centre further up than its best member', () => {
    const uphill = noiseAt(77);
    const lineage = new Lineage({ linear: 0.8, smooth: 0.15, power: 4, nugget: 0.05 });
    const rewards: number[] = [];
    for (let i = 0; i < 30; i++) {
      const noise =
        i === 0 ? noiseAt(0) : onShell(noiseAt(0).map((value, j) => 0.9 * value + 0.44 * noiseAt(i)[j]));
      rewards.push(16 * dot(noise, uphill));
      lineage.add({ index: i, reward: rewards[i], founder: 0, noise });
    }
    expect(16 * dot(lineage.centre({ mean: 0, deviation: 1 }), uphill)).toBeGreaterThan(
      Math.max(...rewards) + 0.3,
    );
  });

  it('keeps its centre on the shell, and its expectation in the units of the reward', () => {
    const lineage = build();
    const noise = lineage.centre(scale);
    const expected = lineage.expected(scale);
    expect(dot(noise, noise)).toBeCloseTo(1, 5);
    expect(expected).toBeGreaterThan(10);
    expect(expected).toBeLessThan(16);
  });

  it('hands out a noise on the shell between its best member and its centre', () => {
    const lineage = build();
    const best = lineage.points.toSorted((a, b) => b.reward - a.reward)[0].noise;
    const centre = lineage.centre(scale);
    const anchor = lineage.anchor(scale, 0.5);
    const half = Math.cos(Math.acos(dot(best, centre)) / 2);
    expect(dot(anchor, anchor)).toBeCloseTo(1, 5);
    expect(dot(anchor, centre)).toBeCloseTo(half, 5);
    expect(dot(anchor, best)).toBeCloseTo(half, 5);
    expect(lineage.anchor(scale, 1)).toEqual(centre);
    expect(dot(lineage.anchor(scale, 0), best)).toBeCloseTo(1, 5);
  });

  it('is the same to the bit after it was packed and unpacked', () => {
    const lineage = build();
    const { values, noises } = lineage.state(D);
    const again = Lineage.restore(KERNEL, JSON.parse(JSON.stringify(values)), noises.slice(), D);
    expect(again.centre(scale)).toEqual(lineage.centre(scale));
    expect(again.anchor(scale, 0.5)).toEqual(lineage.anchor(scale, 0.5));
  });
});
