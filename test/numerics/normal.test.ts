import { describe, expect, it } from 'vitest';
import type { NoiseKey } from '../../src/core/noise.ts';
import { LANES, standardNormal, stepNoiseLane, uniform } from '../../src/numerics/normal.ts';

const key: NoiseKey = { seed: 11, stream: 0, index: 0 };
const SAMPLE_SIZE = 200_000;

function average(values: Float32Array, term: (value: number, i: number) => number): number {
  let sum = 0;
  values.forEach((value, i) => {
    sum += term(value, i);
  });
  return sum / values.length;
}

function expectNear(actual: number, expected: number, tolerance: number): void {
  expect(Math.abs(actual - expected)).toBeLessThan(tolerance);
}

describe('standardNormal', () => {
  it('has the values of another implementation', () => {
    const values = standardNormal({ seed: 9007199254728646, stream: 3, index: 7 }, 8, stepNoiseLane(0));
    const pinned = [
      0.6941643, 1.2133064, -0.28711498, -0.105689436, 0.23947053, 0.16559601, -1.353387, 0.720536,
    ];
    pinned.forEach((value, i) => {
      expect(values[i]).toBeCloseTo(value, 6);
    });
  });

  it('has the moments of N(0, 1)', () => {
    const values = standardNormal(key, SAMPLE_SIZE);
    expectNear(
      average(values, (z) => z),
      0,
      0.005,
    );
    expectNear(
      average(values, (z) => z ** 2),
      1,
      0.01,
    );
    expectNear(
      average(values, (z) => z ** 3),
      0,
      0.03,
    );
    expectNear(
      average(values, (z) => z ** 4),
      3,
      0.06,
    );
    expectNear(
      average(values, (z) => (Math.abs(z) > 1.959964 ? 1 : 0)),
      0.05,
      0.005,
    );
  });

  it('has uncorrelated neighbours', () => {
    const values = standardNormal(key, SAMPLE_SIZE);
    for (const distance of [1, 2, 4]) {
      const correlation = average(values, (z, i) => (i < distance ? 0 : z * values[i - distance]));
      expect(Math.abs(correlation)).toBeLessThan(0.01);
    }
  });

  it.each([0, 1, 2, 3, 4, 5, 1023])(
    'gives %i numbers that are the beginning of every longer noise',
    (length) => {
      expect([...standardNormal(key, length)]).toEqual([...standardNormal(key, 1024).subarray(0, length)]);
    },
  );

  it('differs with the seed (also its high bits), stream, index and lane', () => {
    const noises = [
      standardNormal(key, 4),
      standardNormal({ ...key, seed: 12 }, 4),
      standardNormal({ ...key, seed: 11 + 2 ** 32 }, 4),
      standardNormal({ ...key, stream: 1 }, 4),
      standardNormal({ ...key, index: 1 }, 4),
      standardNormal(key, 4, LANES.weights),
      standardNormal(key, 4, stepNoiseLane(0)),
      standardNormal(key, 4, stepNoiseLane(1)),
    ];
    expect(new Set(noises.map(String)).size).toBe(noises.length);
  });

  it.each([
    ['seed', { ...key, seed: -1 }, /seed is -1/],
    ['seed', { ...key, seed: 2 ** 53 }, /seed is 9007199254740992.*9007199254740991/],
    ['seed', { ...key, seed: 1.5 }, /seed is 1.5/],
    ['stream', { ...key, stream: 2 ** 32 }, /stream is 4294967296.*4294967295/],
    ['index', { ...key, index: Number.NaN }, /index is NaN/],
  ])('rejects a %s out of range with its value and range', (_, wrong, message) => {
    expect(() => standardNormal(wrong, 4)).toThrow(RangeError);
    expect(() => standardNormal(wrong, 4)).toThrow(message);
    expect(() => uniform(wrong, 0)).toThrow(message);
  });

  it('rejects lengths and lanes out of range', () => {
    expect(() => standardNormal(key, -1)).toThrow(/length is -1/);
    expect(() => standardNormal(key, 1, -2)).toThrow(/lane is -2/);
    expect(() => stepNoiseLane(-1)).toThrow(/step is -1/);
  });
});

describe('uniform', () => {
  it('has the values of another implementation', () => {
    expect(uniform({ seed: 9007199254728646, stream: 3, index: 7 }, LANES.component)).toBe(
      0.27472843927322943,
    );
  });

  it('is uniform in [0, 1)', () => {
    const bins = new Array<number>(10).fill(0);
    for (let index = 0; index < 20_000; index++) bins[Math.floor(uniform({ ...key, index }, 1) * 10)] += 1;
    for (const count of bins) expect(Math.abs(count - 2000)).toBeLessThan(4.5 * Math.sqrt(1800));
    expect(bins.reduce((sum, count) => sum + count)).toBe(20_000);
  });
});
