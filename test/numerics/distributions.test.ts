import { describe, expect, it } from 'vitest';
import type { NoiseKey } from '../../src/core/noise.ts';
import {
  gaussianDistribution,
  standardNormalDistribution,
} from '../../src/numerics/distributions/gaussian.ts';
import { anchoredDistribution, mixtureDistribution } from '../../src/numerics/distributions/mixture.ts';
import type { NoiseDistribution } from '../../src/numerics/distributions/noise-distribution.ts';
import {
  checkDistribution,
  dimension,
  distributionKind,
} from '../../src/numerics/distributions/noise-distribution.ts';
import { reparameterize, sampleNoise } from '../../src/numerics/distributions/sample.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { rootMeanSquare } from '../../src/numerics/statistics.ts';

const key: NoiseKey = { seed: 3, stream: 1, index: 2 };

describe('dimension', () => {
  it('is the product of the sizes, of any rank', () => {
    expect(dimension([4, 64, 64])).toBe(16384);
    expect(dimension([4, 8, 16, 16])).toBe(8192);
  });

  it.each([[[]], [[4, 0]], [[2.5]], [[-1, 4]]])('rejects the shape %j', (shape) => {
    expect(() => dimension(shape)).toThrow(RangeError);
  });
});

describe('standardNormalDistribution', () => {
  it('samples exactly the N(0, I) noise of the key', () => {
    const shape = [4, 5, 3];
    expect(sampleNoise(standardNormalDistribution(shape), key)).toEqual(standardNormal(key, 60));
  });

  it('is a valid gaussian', () => {
    const distribution = standardNormalDistribution([4, 2, 2]);
    expect(() => checkDistribution(distribution)).not.toThrow();
    expect(distributionKind(distribution)).toBe('gaussian');
  });
});

describe('gaussianDistribution', () => {
  it('is mean + std * eps, number by number', () => {
    const distribution = gaussianDistribution([3], [1, 2, 3], [1, 0.5, 2]);
    expect([...reparameterize(distribution, Float32Array.of(1, -2, 0.5), 0)]).toEqual([2, 1, 4]);
  });

  it('accepts one standard deviation for all dimensions', () => {
    expect([...reparameterize(gaussianDistribution([2], [1, 2], 0.5), Float32Array.of(2, -2), 0)]).toEqual([
      2, 1,
    ]);
  });

  it('copies its arguments', () => {
    const mean = Float32Array.of(1, 2);
    const distribution = gaussianDistribution([2], mean, 1);
    mean[0] = 99;
    expect([...distribution.mean]).toEqual([1, 2]);
  });
});

describe('mixtureDistribution', () => {
  const distribution = mixtureDistribution(
    [2],
    [
      { mean: [10, 10], std: 1, weight: 0.25 },
      { mean: [20, 20], std: 1, weight: 0 },
      { mean: [30, 30], std: [1, 2], weight: 0.75 },
    ],
  );
  const zeros = new Float32Array(2);

  it.each([
    [0, 10],
    [0.2499, 10],
    [0.25, 30],
    [0.999999, 30],
  ])('maps u = %f to the component whose mean is %i', (u, expected) => {
    expect(reparameterize(distribution, zeros, u)[0]).toBe(expected);
  });

  it('stores d standard deviations per component if one component has them', () => {
    expect([...distribution.std]).toEqual([1, 1, 1, 1, 1, 2]);
    expect([...reparameterize(distribution, Float32Array.of(1, 1), 0.5)]).toEqual([31, 32]);
  });

  it('never selects a component of weight 0, even if the float32 weights sum to less than 1', () => {
    const short: NoiseDistribution = {
      shape: [1],
      mean: Float32Array.of(1, 2),
      std: Float32Array.of(1, 1),
      weights: Float32Array.of(0.999995, 0),
    };
    checkDistribution(short);
    expect(reparameterize(short, new Float32Array(1), 0.999999)[0]).toBe(1);
  });

  it('selects its components with the probabilities of their weights', () => {
    let first = 0;
    for (let index = 0; index < 4000; index++)
      first += sampleNoise(distribution, { ...key, index })[0] < 20 ? 1 : 0;
    expect(Math.abs(first / 4000 - 0.25)).toBeLessThan(0.02);
  });

  it('has the kind mixture', () => {
    expect(distributionKind(distribution)).toBe('mixture');
  });

  it('gives one noise per key and shares the eps of a key with other distributions', () => {
    expect(sampleNoise(distribution, key)).toEqual(sampleNoise(distribution, key));
    const shifted = sampleNoise(gaussianDistribution([2], [5, 5], 1), key);
    const standard = sampleNoise(standardNormalDistribution([2]), key);
    expect(shifted[0] - standard[0]).toBeCloseTo(5, 5);
  });

  it('rejects u out of range and an eps of another length', () => {
    expect(() => reparameterize(distribution, zeros, 1)).toThrow(/u is 1;.*\[0, 1\)/);
    expect(() => reparameterize(distribution, new Float32Array(3), 0)).toThrow(/eps has 3 numbers.*needs 2/);
  });
});

describe('anchoredDistribution', () => {
  const d = 4096;
  const shape = [4, 32, 32];
  const anchors = [0, 1].map((index) => standardNormal({ seed: 8, stream: 0, index }, d));

  it('has means c z and standard deviations sqrt(1 - c^2), one per component', () => {
    const distribution = anchoredDistribution(
      [2],
      [Float32Array.of(1, -2), Float32Array.of(4, 4)],
      [0.6, 0.8],
      [0.5, 0.5],
    );
    expect([...distribution.mean].map((value) => Number(value.toFixed(5)))).toEqual([0.6, -1.2, 3.2, 3.2]);
    expect([...distribution.std].map((value) => Number(value.toFixed(5)))).toEqual([0.8, 0.6]);
  });

  it.each([0, 0.5, 0.9, 0.98])('keeps the norm of its samples at c = %f', (c) => {
    const distribution = anchoredDistribution(shape, anchors, c);
    const norms = Array.from({ length: 20 }, (_, index) =>
      rootMeanSquare(sampleNoise(distribution, { ...key, index })),
    );
    for (const norm of norms) expect(Math.abs(norm - 1)).toBeLessThan(0.06);
    expect(Math.abs(norms.reduce((sum, norm) => sum + norm) / 20 - 1)).toBeLessThan(0.015);
  });

  it('gives the anchors equal weights by default', () => {
    expect([...anchoredDistribution(shape, anchors, 0.9).weights]).toEqual([0.5, 0.5]);
  });

  it.each([
    [1, undefined, /c is 1;.*\[0, 1\)/],
    [-0.1, undefined, /c is -0.1/],
    [Number.NaN, undefined, /c is NaN/],
    [[0.5], undefined, /c has 1 numbers for 2 anchors/],
    [0.5, [1], /1 weights for 2 anchors/],
    [0.5, [0.5, 0.6], /sum to 1.1/],
  ])('rejects c = %j with weights %j', (c, weights, message) => {
    expect(() => anchoredDistribution(shape, anchors, c, weights)).toThrow(message);
  });
});

describe('checkDistribution', () => {
  const good: NoiseDistribution = {
    shape: [2],
    mean: new Float32Array(4),
    std: Float32Array.of(1, 1),
    weights: Float32Array.of(0.5, 0.5),
  };

  it('accepts one standard deviation per component or per number', () => {
    expect(() => checkDistribution(good)).not.toThrow();
    expect(() => checkDistribution({ ...good, std: new Float32Array(4).fill(1) })).not.toThrow();
  });

  it.each([
    [{ mean: new Float32Array(3) }, /3 means; 2 component\(s\) of shape \[2\] need 4/],
    [{ mean: Float32Array.of(0, 0, Number.NaN, 0) }, /mean\[2\] is NaN/],
    [{ std: new Float32Array(3).fill(1) }, /3 standard deviations; it needs 2 .* or 4/],
    [{ std: Float32Array.of(1, 0) }, /std\[1\] is 0/],
    [{ std: Float32Array.of(1, Number.POSITIVE_INFINITY) }, /std\[1\] is Infinity/],
    [{ weights: Float32Array.of(1.5, -0.5) }, /weights\[1\] is -0.5/],
    [{ weights: Float32Array.of(0.5, 0.4) }, /sum to 0.9/],
    [{ weights: new Float32Array(0) }, /no weights/],
    [{ shape: [0] }, /shape is \[0\]/],
  ])('rejects %j', (change, message) => {
    expect(() => checkDistribution({ ...good, ...change })).toThrow(RangeError);
    expect(() => checkDistribution({ ...good, ...change })).toThrow(message);
  });
});
