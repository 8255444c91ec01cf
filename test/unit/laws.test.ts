import { describe, expect, it } from 'vitest';
import type { Draw } from '../../src/numerics/draw.ts';
import { checkLaw, dimension, lawKind } from '../../src/numerics/laws/check.ts';
import { gaussianLaw, standardLaw } from '../../src/numerics/laws/gaussian.ts';
import type { Law } from '../../src/numerics/laws/law.ts';
import { anchoredLaw, mixtureLaw } from '../../src/numerics/laws/mixture.ts';
import { pushThrough, sampleLaw } from '../../src/numerics/laws/sample.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { rootMeanSquare } from '../../src/numerics/statistics.ts';

const draw: Draw = { seed: 3, stream: 1, index: 2 };

describe('dimension', () => {
  it('is the product of the sizes, of any rank', () => {
    expect(dimension([4, 64, 64])).toBe(16384);
    expect(dimension([4, 8, 16, 16])).toBe(8192);
  });

  it.each([[[]], [[4, 0]], [[2.5]], [[-1, 4]]])('refuses the shape %j', (shape) => {
    expect(() => dimension(shape)).toThrow(RangeError);
  });
});

describe('the standard law', () => {
  it('samples exactly the N(0, I) noise of the address', () => {
    const shape = [4, 5, 3];
    expect(sampleLaw(standardLaw(shape), draw)).toEqual(standardNormal(draw, 60));
  });

  it('is a gaussian that checkLaw accepts', () => {
    const law = standardLaw([4, 2, 2]);
    expect(() => checkLaw(law)).not.toThrow();
    expect(lawKind(law)).toBe('gaussian');
  });
});

describe('a gaussian law', () => {
  it('is mean + std * eps, number by number', () => {
    const law = gaussianLaw([3], [1, 2, 3], [1, 0.5, 2]);
    expect([...pushThrough(law, Float32Array.of(1, -2, 0.5), 0)]).toEqual([2, 1, 4]);
  });

  it('takes one standard deviation for all numbers', () => {
    expect([...pushThrough(gaussianLaw([2], [1, 2], 0.5), Float32Array.of(2, -2), 0)]).toEqual([2, 1]);
  });

  it('copies what it is given', () => {
    const mean = Float32Array.of(1, 2);
    const law = gaussianLaw([2], mean, 1);
    mean[0] = 99;
    expect([...law.mean]).toEqual([1, 2]);
  });
});

describe('a mixture', () => {
  const law = mixtureLaw(
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
    expect(pushThrough(law, zeros, u)[0]).toBe(expected);
  });

  it('keeps standard deviations of one number and of many side by side', () => {
    expect([...law.std]).toEqual([1, 1, 1, 1, 1, 2]);
    expect([...pushThrough(law, Float32Array.of(1, 1), 0.5)]).toEqual([31, 32]);
  });

  it('never takes a component of weight 0, also where the float32 weights sum to less than 1', () => {
    const short: Law = {
      shape: [1],
      mean: Float32Array.of(1, 2),
      std: Float32Array.of(1, 1),
      weights: Float32Array.of(0.999995, 0),
    };
    checkLaw(short);
    expect(pushThrough(short, new Float32Array(1), 0.999999)[0]).toBe(1);
  });

  it('takes its components as often as their weights say', () => {
    let first = 0;
    for (let index = 0; index < 4000; index++) first += sampleLaw(law, { ...draw, index })[0] < 20 ? 1 : 0;
    expect(Math.abs(first / 4000 - 0.25)).toBeLessThan(0.02);
  });

  it('is called a mixture', () => {
    expect(lawKind(law)).toBe('mixture');
  });

  it('gives the same noise for the same address and shares its eps with other laws', () => {
    expect(sampleLaw(law, draw)).toEqual(sampleLaw(law, draw));
    const shifted = sampleLaw(gaussianLaw([2], [5, 5], 1), draw);
    const standard = sampleLaw(standardLaw([2]), draw);
    expect(shifted[0] - standard[0]).toBeCloseTo(5, 5);
  });

  it('refuses u and eps that do not fit', () => {
    expect(() => pushThrough(law, zeros, 1)).toThrow(/u is 1;.*\[0, 1\)/);
    expect(() => pushThrough(law, new Float32Array(3), 0)).toThrow(/eps has 3 numbers.*needs 2/);
  });
});

describe('an anchored law', () => {
  const d = 4096;
  const shape = [4, 32, 32];
  const centres = [0, 1].map((index) => standardNormal({ seed: 8, stream: 0, index }, d));

  it('has means c z and standard deviations sqrt(1 - c^2), one per component', () => {
    const law = anchoredLaw([2], [Float32Array.of(1, -2), Float32Array.of(4, 4)], [0.6, 0.8], [0.5, 0.5]);
    expect([...law.mean].map((value) => Number(value.toFixed(5)))).toEqual([0.6, -1.2, 3.2, 3.2]);
    expect([...law.std].map((value) => Number(value.toFixed(5)))).toEqual([0.8, 0.6]);
  });

  it.each([0, 0.5, 0.9, 0.98])('keeps the norm of its draws at c = %f', (c) => {
    const law = anchoredLaw(shape, centres, c);
    const norms = Array.from({ length: 20 }, (_, index) => rootMeanSquare(sampleLaw(law, { ...draw, index })));
    for (const norm of norms) expect(Math.abs(norm - 1)).toBeLessThan(0.06);
    expect(Math.abs(norms.reduce((sum, norm) => sum + norm) / 20 - 1)).toBeLessThan(0.015);
  });

  it('weighs the centres alike unless told otherwise', () => {
    expect([...anchoredLaw(shape, centres, 0.9).weights]).toEqual([0.5, 0.5]);
  });

  it.each([
    [1, undefined, /c is 1;.*\[0, 1\)/],
    [-0.1, undefined, /c is -0.1/],
    [Number.NaN, undefined, /c is NaN/],
    [[0.5], undefined, /c has 1 numbers for 2 centres/],
    [0.5, [1], /1 weights for 2 centres/],
    [0.5, [0.5, 0.6], /sum to 1.1/],
  ])('refuses c = %j with weights %j', (c, weights, message) => {
    expect(() => anchoredLaw(shape, centres, c, weights)).toThrow(message);
  });
});

describe('checkLaw', () => {
  const good: Law = {
    shape: [2],
    mean: new Float32Array(4),
    std: Float32Array.of(1, 1),
    weights: Float32Array.of(0.5, 0.5),
  };

  it('accepts one standard deviation per component or per number', () => {
    expect(() => checkLaw(good)).not.toThrow();
    expect(() => checkLaw({ ...good, std: new Float32Array(4).fill(1) })).not.toThrow();
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
  ])('refuses %j', (change, message) => {
    expect(() => checkLaw({ ...good, ...change })).toThrow(RangeError);
    expect(() => checkLaw({ ...good, ...change })).toThrow(message);
  });
});
