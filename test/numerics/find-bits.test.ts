import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { STREAMS } from '../../src/core/noise.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import {
  type AdamWSettings,
  createMoments,
  FIND_ADAMW,
  stepAdamW,
} from '../../src/numerics/optimizers/adamw.ts';
import { find } from '../../src/numerics/optimizers/find.ts';
import { Sketch } from '../../src/numerics/optimizers/sketch.ts';
import {
  type Rollout,
  standardizedSquares,
  surrogateGradient,
} from '../../src/numerics/optimizers/surrogate.ts';
import { createOptimizer, runSearch } from '../support/optimizers.ts';

/*
 * Loops that are optimized for speed must give the bits of plain loops, because the recorded
 * evidence depends on them.
 */
const D = 105;
const normal = (index: number, scale = 1, centre = 0, length = D) =>
  standardNormal({ seed: 5, stream: STREAMS.samples, index }, length).map((value) => centre + scale * value);

describe('AdamW', () => {
  const plainStep = (
    parameters: Float32Array,
    gradient: Float32Array,
    { first, second }: { first: Float32Array; second: Float32Array },
    step: number,
    { learningRate, beta1, beta2, epsilon, decay }: AdamWSettings,
  ) => {
    for (let i = 0; i < parameters.length; i++) {
      first[i] = beta1 * first[i] + (1 - beta1) * gradient[i];
      second[i] = beta2 * second[i] + (1 - beta2) * gradient[i] * gradient[i];
      const direction =
        first[i] / (1 - beta1 ** step) / (Math.sqrt(second[i] / (1 - beta2 ** step)) + epsilon);
      parameters[i] -= learningRate * (direction + decay * parameters[i]);
    }
  };

  it.each([0, 0.1])(
    'equals the plain loop with decay %d, where gradients are zero, tiny, or zero at times',
    (decay) => {
      const settings = { ...FIND_ADAMW, learningRate: 0.01, decay };
      const [fast, plain] = [normal(0), normal(0)];
      [fast[3], plain[3]] = [-0, -0];
      const moments = [createMoments(D), createMoments(D)];
      for (let step = 1; step <= 12; step++) {
        // Of nine gradients, three are zeros of both signs, two are so small that their square is 0
        // in float32, one becomes 0 after four steps, and one leaves a moment of -0.
        const gradient = normal(step).map((value, i) => {
          if (i % 9 < 3) return step % 2 === 0 ? 0 : -0;
          if (i % 9 < 5) return Math.sign(value) * 1e-45;
          if (i % 9 === 6) return step === 1 ? -1e-45 : 0;
          return i % 9 === 5 && step > 4 ? 0 : value;
        });
        stepAdamW(fast, gradient, moments[0], step, settings);
        plainStep(plain, gradient, moments[1], step, settings);
      }
      expect(bits(fast)).toEqual(bits(plain));
      expect(bits(moments[0].first)).toEqual(bits(moments[1].first));
      expect(bits(moments[0].second)).toEqual(bits(moments[1].second));
    },
  );
});

describe('the gradient of the surrogate', () => {
  const rollouts = Array.from(
    { length: 6 },
    (_, i): Rollout => ({
      mean: normal(10 + i, 0.1),
      std: normal(20 + i, 0.1, 1),
      noises: [normal(30 + i), normal(40 + i, 2)],
      advantages: [i - 2.5, 0.3],
    }),
  );
  const [mean, std] = [normal(60, 0.1), normal(61, 0.1, 1)];

  it('equals that of ratios computed one by one', () => {
    const expected = { mean: new Float32Array(D), std: new Float32Array(D), clipped: 0 };
    for (const { mean: oldMean, std: oldStd, noises, advantages } of rollouts) {
      for (const [k, noise] of noises.entries()) {
        const advantage = advantages[k] / (12 * D);
        for (let i = 0; i < D; i++) {
          const z = (noise[i] - mean[i]) * (1 / std[i]);
          const old = (noise[i] - oldMean[i]) * (1 / oldStd[i]);
          const ratio = oldStd[i] * (1 / std[i]) * Math.exp((old * old - z * z) / 2);
          if (advantage > 0 ? ratio > 1.2 : ratio < 0.8) {
            expected.clipped++;
            continue;
          }
          expected.mean[i] += advantage * ratio * z * (1 / std[i]);
          expected.std[i] += advantage * ratio * (z * z - 1) * (1 / std[i]);
        }
      }
    }
    const gradient = surrogateGradient(rollouts, mean, std, 0.2);
    expect(gradient.clipped).toBe(expected.clipped / (12 * D));
    // Math.exp and the series for small exponents differ after the 13th digit.
    for (let i = 0; i < D; i++) {
      expect(gradient.mean[i]).toBeCloseTo(expected.mean[i], 7);
      expect(gradient.std[i]).toBeCloseTo(expected.std[i], 7);
    }
  });

  it('is the same with cached squares', () => {
    const cached = rollouts.map((rollout) => ({ ...rollout, squares: standardizedSquares(rollout) }));
    expect(surrogateGradient(cached, mean, std, 0.2)).toEqual(surrogateGradient(rollouts, mean, std, 0.2));
  });
});

describe('Sketch', () => {
  it.each([32, 33, 105, 20])('equals plain sums of every 32nd of %i numbers', (length) => {
    const sketch = new Sketch(length, 32, 5, 0);
    const values = normal(70, 1, 0, length);
    const signs = Array.from({ length }, (_, i) => {
      const unit = new Float32Array(length);
      unit[i] = 1;
      return Math.sign(sketch.of(unit).reduce((sum, value) => sum + value, 0));
    });
    const sums = new Float64Array(sketch.size);
    for (let i = 0; i < length; i++) sums[i % sketch.size] += signs[i] * values[i];
    const scale = Math.sqrt(sketch.size / length);
    expect(bits(sketch.of(values))).toEqual(bits(Float32Array.from(sums, (sum) => sum * scale)));
  });
});

describe('find', () => {
  // If a digest changes, recorded runs of `find` cannot be reproduced: record new evidence first.
  it.each([
    ['by default', {}, 'eb5edac89cb47c98'],
    [
      'with batches, epochs and large steps',
      { batchSize: 4, epochs: 5, learningRate: 0.05 },
      '8025f15be9e848c2',
    ],
    [
      'without calibration or clipping',
      { calibration: false, clip: 1e6, learningRate: 0.5 },
      'a67c61d2c5db0bfd',
    ],
  ])('learns the bits of the recorded evidence %s', (_, changed, digest) => {
    const problem = { shape: [4, 16, 16], seed: 7, budget: 60, promptEmbedding: normal(80, 1, 0, 768) };
    const optimizer = createOptimizer(find, problem, changed);
    const reward = (noise: Float32Array) => noise.subarray(0, 64).reduce((sum, value) => sum + value, 0) / 8;
    runSearch(optimizer, problem.budget, reward);
    const { mean, std } = optimizer.policy();
    const hash = createHash('sha256');
    for (const values of [mean, std, ...Object.values(optimizer.state().tensors)]) {
      hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    }
    expect(hash.digest('hex').slice(0, 16)).toBe(digest);
  });
});

function bits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}
