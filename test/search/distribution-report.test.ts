import { describe, expect, it } from 'vitest';
import type { Evaluator } from '../../src/core/evaluator.ts';
import { type Noise, STREAMS } from '../../src/core/noise.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { evaluateDistribution } from '../../src/search/distribution-report.ts';

/** N(0.5, I) over one latent of 4 numbers. */
const distribution = {
  shape: [4],
  mean: new Float32Array(4).fill(0.5),
  std: Float32Array.of(1),
  weights: Float32Array.of(1),
};

/** Rewards the mean of a noise; the picture is its first number as a gray value. */
function meanEvaluator(calls: (readonly Noise[])[], makesPictures = true): Evaluator {
  return {
    shape: [4],
    promptEmbedding: new Float32Array(),
    async evaluate(noises) {
      calls.push(noises);
      return noises.map(({ key, values = standardNormal(key, 4) }) => {
        const reward = values.reduce((sum, value) => sum + value, 0) / 4;
        const picture = { width: 1, height: 1, pixels: new Uint8Array(3).fill(128 + 20 * values[0]) };
        return { reward, terms: [reward, 2 * reward], picture: makesPictures ? picture : null };
      });
    },
  };
}

const features = ({ pixels }: { readonly pixels: Uint8Array }) => Float32Array.of(pixels[0]);

describe('evaluateDistribution', () => {
  it('compares samples of both distributions from the same keys, which no search uses', async () => {
    const calls: (readonly Noise[])[] = [];
    const evaluator = meanEvaluator(calls);
    const report = await evaluateDistribution({
      distribution,
      evaluator,
      seed: 7,
      features,
      samples: 8,
      termNames: null,
    });
    const [base, learned] = calls;
    expect(base.map(({ key }) => key)).toEqual(learned.map(({ key }) => key));
    expect(base.map(({ key }) => key.stream)).toEqual(new Array(8).fill(STREAMS.report));
    expect(base.every(({ values }) => values === undefined)).toBe(true);
    expect(report.draws).toBe(8);
    expect(report.gain.mean).toBeCloseTo(0.5, 6);
    expect(report.gain.standardError).toBeCloseTo(0, 6);
    expect(report.diversityRatio).toBeCloseTo(1, 1);
    expect(report.terms).toBeUndefined();
  });

  it('reports the mean score of each term by its name', async () => {
    const { base, learned, terms } = await evaluateDistribution({
      distribution,
      evaluator: meanEvaluator([]),
      seed: 7,
      features,
      samples: 4,
      termNames: ['once', 'twice'],
    });
    expect(terms?.once.base.mean).toBeCloseTo(base.mean, 12);
    expect(terms?.twice.learned.mean).toBeCloseTo(2 * learned.mean, 12);
  });

  it('has no diversity ratio without pictures', async () => {
    const report = await evaluateDistribution({
      distribution,
      evaluator: meanEvaluator([], false),
      seed: 7,
      features,
      samples: 2,
      termNames: null,
    });
    expect(report.diversityRatio).toBeNull();
  });
});
