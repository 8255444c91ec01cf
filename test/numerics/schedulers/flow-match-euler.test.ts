import { describe, expect, it } from 'vitest';
import { standardNormal } from '../../../src/numerics/normal.ts';
import { flowMatchEuler } from '../../../src/numerics/schedulers/flow-match-euler.ts';
import type { SchedulerConfig, SchedulerOptions } from '../../../src/numerics/schedulers/scheduler.ts';

const four = { steps: 4, eta: 0 };
const stableDiffusion3 = {
  _class_name: 'FlowMatchEulerDiscreteScheduler',
  num_train_timesteps: 1000,
  shift: 3,
};
const flux = { ...stableDiffusion3, use_dynamic_shifting: true };
const noiseAt = (index: number, length = 8) => standardNormal({ seed: 1, stream: 0, index }, length);
const join = (a: Float32Array, b: Float32Array) => Float32Array.of(...a, ...b);
const { create } = flowMatchEuler;
const timestepsOf = (config: SchedulerConfig, options: Partial<SchedulerOptions> = {}) =>
  create(config, { ...four, ...options }).timesteps;

describe('flow-match-euler spaces its levels as the pipelines do', () => {
  it('from 1 to 1 / steps if the config sets no shift (FLUX.1-schnell)', () => {
    expect(timestepsOf({ shift: 1 })).toEqual([1000, 750, 500, 250]);
    expect(timestepsOf({ shift: 1 }, { imageSequenceLength: 4096 })).toEqual([1000, 750, 500, 250]);
  });

  it('between the trained levels, shifted twice, if it sets one (Stable Diffusion 3)', () => {
    const timesteps = timestepsOf(stableDiffusion3);
    expect(timesteps[0]).toBe(1000);
    // 1 / 1000 shifted by 3 is 3 / 1002, and that 0.00893.
    expect(timesteps[3]).toBeCloseTo(8.93, 2);
  });

  it('as the option flowSpacing says', () => {
    expect(timestepsOf({ shift: 1 }, { flowSpacing: 'trained' })).not.toEqual(timestepsOf({ shift: 1 }));
    expect(timestepsOf(stableDiffusion3, { flowSpacing: 'unit' })[3]).toBeCloseTo(500, 3);
  });

  it('shifted more for larger pictures, by exp(mu)', () => {
    const [small, large] = [256, 4096].map((imageSequenceLength) =>
      timestepsOf(flux, { imageSequenceLength }),
    );
    const shifted = (mu: number) => 1000 / (1 + 3 / Math.exp(mu));
    expect(small[3]).toBeCloseTo(shifted(0.5), 2);
    expect(large[3]).toBeCloseTo(shifted(1.15), 2);
  });
});

describe.each([true, false])('flow-match-euler with stochastic_sampling %s', (stochastic_sampling) => {
  const config = { ...stableDiffusion3, stochastic_sampling };
  const noise = (index: number, length = 8) => (stochastic_sampling ? noiseAt(index, length) : undefined);

  it('is elementwise: a batch gives the results of its samples', () => {
    const scheduler = create(config, four);
    const both = scheduler.step(
      join(noiseAt(1), noiseAt(2)),
      1,
      join(noiseAt(3), noiseAt(4)),
      stochastic_sampling ? join(noiseAt(5), noiseAt(6)) : undefined,
    );
    expect(both).toEqual(
      join(
        scheduler.step(noiseAt(1), 1, noiseAt(3), noise(5)),
        scheduler.step(noiseAt(2), 1, noiseAt(4), noise(6)),
      ),
    );
  });

  it('leaves its arguments unchanged', () => {
    const scheduler = create(config, four);
    const [output, latents, added] = [noiseAt(1), noiseAt(2), noise(3)];
    const next = scheduler.step(output, 0, latents, added);
    expect([output, latents, added]).toEqual([noiseAt(1), noiseAt(2), noise(3)]);
    expect(next).not.toBe(latents);
  });

  it('rejects steps, lengths and noise that do not fit', () => {
    const scheduler = create(config, four);
    expect(scheduler.stochastic).toBe(stochastic_sampling);
    expect(() => scheduler.step(noiseAt(1), 4, noiseAt(1), noise(2))).toThrow(/step is 4;.*0 to 3/);
    expect(() => scheduler.step(noiseAt(1), 0, noiseAt(1, 9), noise(2))).toThrow(
      /output has 8 numbers and the latents have 9/,
    );
    if (stochastic_sampling) {
      expect(() => scheduler.step(noiseAt(1), 0, noiseAt(1))).toThrow(
        /stochastic_sampling .* needs 8 numbers .* none/,
      );
    } else {
      expect(() => scheduler.step(noiseAt(1), 0, noiseAt(1), noiseAt(2))).toThrow(/takes no noise/);
    }
  });
});

describe('flow-match-euler', () => {
  it('reaches the picture of a model that knows it, in any number of steps', () => {
    const [picture, noise] = [noiseAt(1), noiseAt(2)];
    for (const steps of [1, 7]) {
      const scheduler = create(stableDiffusion3, { steps, eta: 0 });
      let latents = Float32Array.from(noise);
      // The flow from this picture to this noise is the same everywhere.
      const flow = noise.map((value, i) => value - picture[i]);
      scheduler.timesteps.forEach((_, step) => {
        latents = Float32Array.from(scheduler.step(flow, step, latents));
      });
      latents.forEach((value, i) => {
        expect(value).toBeCloseTo(picture[i], 5);
      });
    }
  });

  it.each([0, -1, 2.5, 1001, Number.NaN])('rejects %f steps', (steps) => {
    expect(() => create(stableDiffusion3, { steps, eta: 0 })).toThrow(/steps is .* from 1 to 1000/);
  });

  it.each([0, -4, 2.5, undefined])(
    'rejects a picture of %s tokens if the shift depends on it',
    (imageSequenceLength) => {
      expect(() => create(flux, { ...four, imageSequenceLength })).toThrow(
        /imageSequenceLength is .*integer >= 1/,
      );
      expect(() => create(stableDiffusion3, { ...four, imageSequenceLength })).not.toThrow();
    },
  );

  it.each([
    [{ shift: 0 }, /shift .* 0.*a number > 0/],
    [{ shift: '3' }, /shift .* "3".*a number > 0/],
    [{ shift_terminal: 1 }, /shift_terminal .* 1/],
    [{ use_beta_sigmas: true }, /use_beta_sigmas .* true.*only false/],
    [{ use_karras_sigmas: true, use_exponential_sigmas: true }, /only one can be true/],
    [{ use_karras_sigmas: true, sigma_min: 2 }, /sigma_min = 2, which must be below/],
    [
      { use_dynamic_shifting: true, time_shift_type: 'cubic' },
      /time_shift_type .* "cubic".*exponential, linear/,
    ],
    [
      { use_dynamic_shifting: true, time_shift_type: 'linear', base_shift: -2 },
      /time_shift_type is linear.*not above 0/,
    ],
    [
      { use_dynamic_shifting: true, max_image_seq_len: 256 },
      /base_image_seq_len and max_image_seq_len .* differ/,
    ],
    [{ stochastic_sampling: 1 }, /stochastic_sampling .* 1.*true or false/],
    [{ invert_sigmas: 'no' }, /invert_sigmas .* "no"/],
    [{ num_train_timesteps: 0 }, /num_train_timesteps .* 0/],
    [{ shft: 3 }, /a key that no scheduler .* knows: shft/],
    [
      { _class_name: 'EulerDiscreteScheduler' },
      /made for EulerDiscreteScheduler, .* needs a flow-matching model/,
    ],
  ])('rejects %j', (options, message) => {
    expect(() => create({ ...stableDiffusion3, ...options }, { ...four, imageSequenceLength: 256 })).toThrow(
      message,
    );
  });

  it('rejects a terminal level with a single step', () => {
    expect(() => create({ ...stableDiffusion3, shift_terminal: 0.1 }, { steps: 1, eta: 0 })).toThrow(
      /steps is 1; with shift_terminal it must be at least 2/,
    );
  });
});
