import { describe, expect, it } from 'vitest';
import { standardNormal } from '../../src/numerics/normal.ts';
import { flowMatchEuler } from '../../src/numerics/schedulers/flow-match-euler.ts';
import type { SchedulerConfig, SchedulerOptions } from '../../src/numerics/schedulers/scheduler.ts';

const four = { steps: 4, eta: 0 };
const stableDiffusion3 = {
  _class_name: 'FlowMatchEulerDiscreteScheduler',
  num_train_timesteps: 1000,
  shift: 3,
};
const flux = { ...stableDiffusion3, use_dynamic_shifting: true };
const draw = (index: number, length = 8) => standardNormal({ seed: 1, stream: 0, index }, length);
const join = (a: Float32Array, b: Float32Array) => Float32Array.of(...a, ...b);
const { create } = flowMatchEuler;
const timestepsOf = (config: SchedulerConfig, options: Partial<SchedulerOptions> = {}) =>
  create(config, { ...four, ...options }).timesteps;

describe('flow-match-euler spaces its levels as the pipelines do', () => {
  it('from 1 to 1 / steps where the config sets no shift of its own (FLUX.1-schnell)', () => {
    expect(timestepsOf({ shift: 1 })).toEqual([1000, 750, 500, 250]);
    expect(timestepsOf({ shift: 1 }, { imageSequenceLength: 4096 })).toEqual([1000, 750, 500, 250]);
  });

  it('between the trained levels, shifted twice, where it sets one (Stable Diffusion 3)', () => {
    const timesteps = timestepsOf(stableDiffusion3);
    expect(timesteps[0]).toBe(1000);
    // 1 / 1000 shifted by 3 is 3 / 1002, and that 0.00893.
    expect(timesteps[3]).toBeCloseTo(8.93, 2);
  });

  it('as the option says', () => {
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
  const noise = (index: number, length = 8) => (stochastic_sampling ? draw(index, length) : undefined);

  it('treats every number alike: a batch is its draws side by side', () => {
    const scheduler = create(config, four);
    const both = scheduler.step(
      join(draw(1), draw(2)),
      1,
      join(draw(3), draw(4)),
      stochastic_sampling ? join(draw(5), draw(6)) : undefined,
    );
    expect(both).toEqual(
      join(scheduler.step(draw(1), 1, draw(3), noise(5)), scheduler.step(draw(2), 1, draw(4), noise(6))),
    );
  });

  it('leaves its arguments as they are', () => {
    const scheduler = create(config, four);
    const [output, latents, fresh] = [draw(1), draw(2), noise(3)];
    const next = scheduler.step(output, 0, latents, fresh);
    expect([output, latents, fresh]).toEqual([draw(1), draw(2), noise(3)]);
    expect(next).not.toBe(latents);
  });

  it('refuses steps, lengths and noise that do not fit', () => {
    const scheduler = create(config, four);
    expect(scheduler.stochastic).toBe(stochastic_sampling);
    expect(() => scheduler.step(draw(1), 4, draw(1), noise(2))).toThrow(/step is 4;.*0 to 3/);
    expect(() => scheduler.step(draw(1), 0, draw(1, 9), noise(2))).toThrow(
      /output has 8 numbers, the latents 9/,
    );
    if (stochastic_sampling) {
      expect(() => scheduler.step(draw(1), 0, draw(1))).toThrow(
        /stochastic_sampling .* needs 8 numbers .* none/,
      );
    } else {
      expect(() => scheduler.step(draw(1), 0, draw(1), draw(2))).toThrow(/takes no noise/);
    }
  });
});

describe('flow-match-euler', () => {
  it('finds the picture of a model that knows it, in any number of steps', () => {
    const [picture, noise] = [draw(1), draw(2)];
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

  it.each([0, -1, 2.5, 1001, Number.NaN])('refuses %f steps', (steps) => {
    expect(() => create(stableDiffusion3, { steps, eta: 0 })).toThrow(/steps is .* from 1 to 1000/);
  });

  it.each([0, -4, 2.5, undefined])(
    'refuses a picture of %s tokens where that counts',
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
  ])('refuses %j', (options, message) => {
    expect(() => create({ ...stableDiffusion3, ...options }, { ...four, imageSequenceLength: 256 })).toThrow(
      message,
    );
  });

  it('cannot end elsewhere after a single level', () => {
    expect(() => create({ ...stableDiffusion3, shift_terminal: 0.1 }, { steps: 1, eta: 0 })).toThrow(
      /steps is 1; with shift_terminal it must be at least 2/,
    );
  });
});
