import { describe, expect, it } from 'vitest';
import { type ReportSamples, summarizeReport } from '../../src/numerics/report.ts';

const samples: ReportSamples = {
  baseRewards: [0, 1, 2, 3],
  learnedRewards: [1, 3, 2, 6],
  baseFeatures: [[0], [1], [2], [3]],
  learnedFeatures: [[0], [0.5], [1], [1.5]],
  learnedNoises: [
    Float32Array.of(1, 1),
    Float32Array.of(-1, 1),
    Float32Array.of(2, 0),
    Float32Array.of(0, 0),
  ],
};

describe('summarizeReport', () => {
  const report = summarizeReport(samples);

  it('gives mean and standard error of both distributions', () => {
    expect(report.draws).toBe(4);
    expect(report.base.mean).toBe(1.5);
    expect(report.base.standardError).toBeCloseTo(Math.sqrt(5 / 3) / 2, 12);
    expect(report.learned.mean).toBe(3);
    expect(report.learned.standardError).toBeCloseTo(Math.sqrt(14 / 3) / 2, 12);
  });

  it('pairs the rewards of an eps: a constant gain has the standard error 0', () => {
    expect(report.gain.mean).toBe(1.5);
    expect(report.gain.standardError).toBeCloseTo(Math.sqrt(5 / 3) / 2, 12);
    const constant = summarizeReport({ ...samples, learnedRewards: [2, 3, 4, 5] });
    expect(constant.gain).toEqual({ mean: 2, standardError: 0 });
  });

  it("counts learned samples strictly above the base's 90th percentile as successes", () => {
    expect(report.successRate).toBe(0.5);
    expect(summarizeReport({ ...samples, learnedRewards: [2.7, 2.7, 2.7, 2.71] }).successRate).toBe(0.25);
    expect(
      summarizeReport({ ...samples, baseRewards: [1, 1, 1, 1], learnedRewards: [1, 1, 1, 1] }).successRate,
    ).toBe(0);
  });

  it('divides the mean pairwise distances of the features', () => {
    expect(report.diversityRatio).toBeCloseTo(0.5, 12);
  });

  it('has no diversity ratio without features or if the base has no diversity', () => {
    expect(summarizeReport({ ...samples, baseFeatures: null }).diversityRatio).toBeNull();
    expect(summarizeReport({ ...samples, learnedFeatures: null }).diversityRatio).toBeNull();
    expect(summarizeReport({ ...samples, baseFeatures: [[1], [1], [1], [1]] }).diversityRatio).toBeNull();
  });

  it('gives the mean norm of the noises over sqrt(d)', () => {
    expect(report.meanNorm).toBeCloseTo((1 + 1 + Math.SQRT2 + 0) / 4, 12);
  });

  it('gives mean and standard error of each term, if the reward has terms', () => {
    expect(report.terms).toBeUndefined();
    const term = { name: 'green', base: samples.baseRewards, learned: samples.learnedRewards };
    expect(summarizeReport({ ...samples, terms: [term] }).terms).toEqual({
      green: { base: report.base, learned: report.learned },
    });
  });

  it('is unchanged by JSON', () => {
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  it.each([
    [{ learnedRewards: [1, 2, 3] }, /learnedRewards has 3 entries and baseRewards 4/],
    [{ learnedNoises: [] }, /learnedNoises has 0 entries/],
    [{ baseFeatures: [[1]] }, /baseFeatures has 1 entries/],
    [{ baseRewards: [0, 1, Number.NaN, 3] }, /baseRewards\[2\] is NaN/],
    [
      {
        baseRewards: [1],
        learnedRewards: [1],
        baseFeatures: null,
        learnedFeatures: null,
        learnedNoises: [[1]],
      },
      /a report needs at least 2/,
    ],
  ])('rejects %j', (change, message) => {
    expect(() => summarizeReport({ ...samples, ...change })).toThrow(message);
  });
});
