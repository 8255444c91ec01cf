import { describe, expect, it } from 'vitest';
import { standardNormal } from '../../../src/numerics/normal.ts';
import { History, weightedSum } from '../../../src/numerics/schedulers/arrays.ts';
import { findScheduler, SCHEDULERS } from '../../../src/numerics/schedulers/registry.ts';

const latentDiffusion = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };
const noiseAt = (index: number) => standardNormal({ seed: 1, stream: 0, index }, 8);

describe.each(SCHEDULERS.map(({ name }) => name))('%s, with arrays of the caller', (name) => {
  const isFlow = name.startsWith('flow-match');
  const ends = /^(sde-)?dpmsolver$/.test(name) ? { final_sigmas_type: 'sigma_min' } : {};
  const config = isFlow ? {} : { ...latentDiffusion, clip_sample: false, ...ends };
  const create = () => findScheduler(name).create(config, { steps: 6, eta: 0 });

  it('takes the same steps as with new arrays, and returns the arrays', () => {
    const [reusing, allocating] = [create(), create()];
    let [a, b, next]: Float32Array[] = [noiseAt(0), noiseAt(0), new Float32Array(8)];
    const input = new Float32Array(8);
    for (const [step] of reusing.timesteps.entries()) {
      const noise = reusing.stochastic ? noiseAt(30 + step) : undefined;
      expect(reusing.scaleModelInput(a, step, input)).toEqual(allocating.scaleModelInput(b, step));
      b = Float32Array.from(allocating.step(noiseAt(10 + step), step, b, noise));
      expect(reusing.step(noiseAt(10 + step), step, a, noise, next)).toBe(next);
      // The latents of the last step hold the next ones, as in the denoising loop.
      [a, next] = [next, a];
      next.fill(Number.NaN);
      expect(a).toEqual(b);
    }
  });

  it('rejects an array for the result that is another argument or too short', () => {
    const [output, latents] = [noiseAt(1), noiseAt(2)];
    const scheduler = create();
    const noise = scheduler.stochastic ? noiseAt(3) : undefined;
    for (const into of [output, latents, new Float32Array(7)])
      expect(() => scheduler.step(output, 0, latents, noise, into)).toThrow(
        /array for the result must be one of its own, of 8/,
      );
  });
});

describe('the history of a multistep method', () => {
  it('holds the latest outputs, newest first, and writes the oldest array again', () => {
    const history = new History(2);
    const arrays = [1, 2, 3, 4].map((value) => {
      const array = history.next(1);
      expect(history.latest).not.toContain(array);
      array[0] = value;
      history.push();
      return array;
    });
    expect(history.latest.map(([value]) => value)).toEqual([4, 3]);
    expect(arrays[3]).toBe(arrays[0]);
  });
});

describe('weightedSum', () => {
  it.each([1, 2, 3, 4, 5])('sums %d arrays in float64 and rounds once', (count) => {
    const arrays = Array.from({ length: count }, (_, i) => noiseAt(i));
    const weights = Array.from({ length: count }, (_, i) => 1 / (i + 3) - 0.2);
    const expected = arrays[0].map((_, i) =>
      arrays.reduce((sum, array, k) => sum + weights[k] * array[i], 0),
    );
    expect(weightedSum(weights, arrays, new Float32Array(8))).toEqual(expected);
    expect(weightedSum(weights, arrays, arrays[0])).toEqual(expected);
  });

  it('rejects more arrays than it has loops for', () => {
    const arrays = Array.from({ length: 6 }, (_, i) => noiseAt(i));
    expect(() => weightedSum([1, 1, 1, 1, 1, 1], arrays, arrays[0])).toThrow(/6 arrays/);
  });
});
