import { describe, expect, it } from 'vitest';
import {
  gaussianSmooth,
  mean,
  meanPairwiseDistance,
  quantile,
  rootMeanSquare,
  sampleStandardDeviation,
  standardError,
} from '../../src/numerics/statistics.ts';

// Expected values by numpy 2 and scipy 1.17.
const values = [0.3, -1.2, 2.5, 0.1, 0.7, -0.4, 1.9];

describe('mean, sampleStandardDeviation, standardError', () => {
  it('agree with numpy (ddof = 1)', () => {
    expect(mean(values)).toBeCloseTo(3.9 / 7, 12);
    expect(sampleStandardDeviation(values)).toBeCloseTo(1.283039545840453, 12);
    expect(standardError(values)).toBeCloseTo(0.48494336579358505, 12);
  });

  it('reject too few values with the number that they need', () => {
    expect(() => mean([])).toThrow(/0 values; a mean needs at least 1/);
    expect(() => standardError([1])).toThrow(/1 values;.*at least 2/);
  });
});

describe('quantile', () => {
  it.each([
    [0, -1.2],
    [0.1, -0.72],
    [0.5, 0.3],
    [0.9, 2.14],
    [1, 2.5],
  ])('at %f is %f, as by numpy', (share, expected) => {
    expect(quantile(values, share)).toBeCloseTo(expected, 12);
  });

  it('sorts by number and leaves its input unchanged', () => {
    const input = [10, 9, -2];
    expect(quantile(input, 0.5)).toBe(9);
    expect(input).toEqual([10, 9, -2]);
  });

  it('rejects shares outside [0, 1]', () => {
    expect(() => quantile(values, 90)).toThrow(/share of a quantile is 90/);
  });
});

describe('gaussianSmooth', () => {
  it.each([
    [
      0.8,
      [
        -0.02624736803387806, 0.04940201766101315, 1.0174155817465467, 0.7463750706008047,
        0.37729420417785053, 0.4388834714027078, 1.2968770224449557,
      ],
    ],
    [
      5,
      [
        0.5255591015638658, 0.5318563054942774, 0.5431046054239433, 0.5571534399855695, 0.5711521971404634,
        0.5824753187741617, 0.588699031617719,
      ],
    ],
  ])("with sigma %f agrees with scipy's gaussian_filter1d, mirrored ends and all", (sigma, expected) => {
    const smooth = gaussianSmooth(values, sigma);
    expect(smooth).toHaveLength(expected.length);
    expected.forEach((value, i) => {
      expect(smooth[i]).toBeCloseTo(value, 10);
    });
  });

  it('leaves constants, a single value, no values, and any values with sigma 0 unchanged', () => {
    for (const value of gaussianSmooth([2, 2, 2], 3)) expect(value).toBeCloseTo(2, 12);
    expect(gaussianSmooth([5], 2)[0]).toBeCloseTo(5, 12);
    expect(gaussianSmooth([], 2)).toEqual([]);
    expect(gaussianSmooth(values, 0)).toEqual(values);
  });

  it('rejects a sigma that is negative or not a number', () => {
    expect(() => gaussianSmooth(values, -1)).toThrow(/sigma is -1/);
    expect(() => gaussianSmooth(values, Number.NaN)).toThrow(/sigma is NaN/);
  });
});

describe('meanPairwiseDistance', () => {
  it('is the mean over all pairs', () => {
    expect(
      meanPairwiseDistance([
        [0, 0],
        [3, 4],
        [0, 8],
      ]),
    ).toBeCloseTo((5 + 8 + 5) / 3, 12);
  });

  it('rejects a single vector and vectors of different lengths', () => {
    expect(() => meanPairwiseDistance([[1]])).toThrow(/at least 2/);
    expect(() => meanPairwiseDistance([[1], [1, 2]])).toThrow(/1 and 2 numbers/);
  });
});

describe('rootMeanSquare', () => {
  it('is the norm over the root of the dimension', () => {
    expect(rootMeanSquare([3, 4])).toBeCloseTo(5 / Math.SQRT2, 12);
    expect(rootMeanSquare(Float32Array.of(1, -1, 1, -1))).toBe(1);
  });
});
