import { describe, expect, it } from 'vitest';
import { standardNormal } from '../../../src/numerics/normal.ts';
import { readConfig } from '../../../src/numerics/schedulers/config.ts';
import { readNoiseSchedule } from '../../../src/numerics/schedulers/noise-schedule.ts';
import { findScheduler } from '../../../src/numerics/schedulers/registry.ts';
import type { SchedulerConfig } from '../../../src/numerics/schedulers/scheduler.ts';

const latentDiffusion: SchedulerConfig = {
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  clip_sample: false,
  steps_offset: 1,
};
const zeroSnr = { ...latentDiffusion, rescale_betas_zero_snr: true, timestep_spacing: 'trailing' };
const deterministic = { steps: 4, eta: 0 };
const two = new Float32Array(2);
const noiseAt = (index: number, length = 8) => standardNormal({ seed: 1, stream: 0, index }, length);

it.each([
  [latentDiffusion, [0.999149978, 0.673792303, 0.27766943, 0.0561698042, 0.00466009509]],
  [{}, [0.999899983, 0.521422982, 0.078587234, 0.00330015854, 4.03583035e-5]],
  [
    { beta_schedule: 'squaredcos_cap_v2' },
    [0.999958694, 0.845888019, 0.493843466, 0.143178657, 2.42873499e-9],
  ],
])("the noise schedule of %j has torch's numbers to the last bit", (config, alphas) => {
  const { alphasCumprod } = readNoiseSchedule(readConfig(config, 'DDIMScheduler'));
  expect([0, 250, 499, 750, 999].map((timestep) => alphasCumprod[timestep])).toEqual(alphas.map(Math.fround));
});

describe.each(['ddim', 'lcm'])('thresholding of %s', (name) => {
  const config = {
    ...latentDiffusion,
    thresholding: true,
    dynamic_thresholding_ratio: 0.7,
    sample_max_value: 30,
    prediction_type: 'sample',
  };
  const step = (length: number | undefined, ...samples: Float32Array[]) => {
    const scheduler = findScheduler(name).create(config, { steps: 4, eta: 0, sampleLength: length });
    const output = Float32Array.of(...samples.flatMap((values) => [...values]));
    const noise = scheduler.stochastic ? new Float32Array(output.length) : undefined;
    return Float32Array.from(scheduler.step(output, 1, new Float32Array(output.length), noise));
  };
  const wide = noiseAt(2).map((value) => value * 2);

  it('is independent of the other samples of a batch', () => {
    const alone = step(8, wide);
    expect(step(8, wide, noiseAt(1)).subarray(0, 8)).toEqual(alone);
    expect(step(8, noiseAt(1).fill(1e6), wide).subarray(8)).toEqual(alone);
  });

  it('treats an array as one sample without sampleLength', () => {
    expect(step(undefined, wide)).toEqual(step(8, wide));
    expect(step(undefined, wide, noiseAt(1).fill(1e6)).subarray(0, 8)).not.toEqual(step(8, wide));
  });

  it.each([3, 0, 2.5, 16])('rejects samples of %f numbers in 8', (length) => {
    expect(() => step(length, wide)).toThrow(/sampleLength is .* divides the latents' 8/);
  });

  it.each([
    ['thresholding', 'yes', /thresholding .* "yes".*true or false/],
    ['dynamic_thresholding_ratio', 1.5, /dynamic_thresholding_ratio .* 1.5.*from 0 to 1/],
    ['sample_max_value', 0, /sample_max_value .* 0/],
  ])('rejects %s = %j', (key, value, message) => {
    expect(() => findScheduler(name).create({ ...config, [key]: value }, deterministic)).toThrow(message);
  });
});

describe.each(['ddim', 'tcd'])('eta of %s', (name) => {
  const create = findScheduler(name).create;

  it('requires noise of the right length if it is > 0, and rejects noise if it is 0', () => {
    const scheduler = create(latentDiffusion, { steps: 4, eta: 0.5 });
    expect(scheduler.stochastic).toBe(true);
    expect(() => scheduler.step(two, 0, two)).toThrow(
      /eta is 0.5: step needs 2 numbers of noise, but got none/,
    );
    expect(() => scheduler.step(two, 0, two, new Float32Array(3))).toThrow(/got 3/);
    const still = create(latentDiffusion, deterministic);
    expect(still.stochastic).toBe(false);
    expect(() => still.step(two, 0, two, two)).toThrow(/eta is 0: step takes no noise/);
  });

  it.each([-0.1, 1.1, Number.NaN])('rejects %f', (eta) => {
    expect(() => create(latentDiffusion, { steps: 4, eta })).toThrow(/eta is .* from 0 .* to 1/);
  });
});

it.each(['pndm', 'euler', 'euler-ancestral', 'lcm'])('%s ignores eta', (name) => {
  const create = findScheduler(name).create;
  const { stochastic } = create(latentDiffusion, { steps: 4, eta: 1 });
  expect(stochastic).toBe(create(latentDiffusion, deterministic).stochastic);
});

describe.each(['lcm', 'tcd'])('%s', (name) => {
  const create = findScheduler(name).create;

  it('ignores noise at the last step', () => {
    for (const steps of [1, 4]) {
      const scheduler = create(latentDiffusion, { steps, eta: 0.3 });
      expect(scheduler.stochastic).toBe(steps > 1);
      const last = steps - 1;
      const without = scheduler.step(noiseAt(0), last, noiseAt(1));
      expect(scheduler.step(noiseAt(0), last, noiseAt(1), noiseAt(2))).toEqual(without);
    }
  });

  it('limits its steps by original_inference_steps', () => {
    const config = { ...latentDiffusion, original_inference_steps: 20 };
    expect(create(config, { steps: 20, eta: 0 }).timesteps).toHaveLength(20);
    expect(() => create(config, { steps: 21, eta: 0 })).toThrow(
      /steps is 21; .* from 1 to 20, .* distilled with \(original_inference_steps\)/,
    );
    expect(() => create({ ...config, original_inference_steps: 2000 }, deterministic)).toThrow(
      /original_inference_steps .* 2000.*from 1 to 1000/,
    );
  });
});

describe.each(['ddim', 'lcm', 'tcd'])('%s', (name) => {
  it('rejects an epsilon model at a timestep without signal', () => {
    expect(() => findScheduler(name).create(zeroSnr, deterministic)).toThrow(
      /Timestep 999 has no signal: .*prediction_type epsilon/,
    );
    expect(() =>
      findScheduler(name).create({ ...zeroSnr, prediction_type: 'sample' }, deterministic),
    ).not.toThrow();
  });
});

describe.each(['ddim', 'pndm', 'euler', 'euler-ancestral'])('%s', (name) => {
  const create = findScheduler(name).create;

  it('rejects a first timestep beyond the training', () => {
    const config = { ...latentDiffusion, timestep_spacing: 'leading' };
    expect(() => create(config, { steps: 1000, eta: 0 })).toThrow(/start at timestep 1000; .* 0 to 999/);
  });

  it('rejects a timestep without noise, which would give NaN', () => {
    const config = { ...latentDiffusion, beta_start: 0, steps_offset: 0, timestep_spacing: 'leading' };
    expect(() => create(config, deterministic)).toThrow(/noise.*beta_start/);
  });
});

describe('pndm', () => {
  const create = findScheduler('pndm').create;

  it('evaluates the model once more than steps, or nine times more with a Runge-Kutta start', () => {
    expect(create({ ...latentDiffusion, skip_prk_steps: true }, { steps: 10, eta: 0 }).timesteps).toEqual([
      901, 801, 801, 701, 601, 501, 401, 301, 201, 101, 1,
    ]);
    expect(create(latentDiffusion, { steps: 10, eta: 0 }).timesteps).toHaveLength(19);
  });

  it('rejects pure noise, whatever the model predicts', () => {
    const betas = Array.from({ length: 20 }, (_, i) => (i === 19 ? 1 : 0.01));
    const config = { trained_betas: betas, num_train_timesteps: 20, timestep_spacing: 'trailing' };
    for (const prediction_type of ['epsilon', 'v_prediction']) {
      expect(() => create({ ...config, prediction_type }, deterministic)).toThrow(
        /Timestep 19 .*trained_betas/,
      );
    }
  });

  it('rejects too few steps for a Runge-Kutta start', () => {
    expect(() => create(latentDiffusion, { steps: 3, eta: 0 })).toThrow(
      /steps is 3; .* at least 4.*skip_prk_steps/,
    );
    expect(() => create({ ...latentDiffusion, skip_prk_steps: 1 }, deterministic)).toThrow(
      /skip_prk_steps .* 1/,
    );
  });

  it.each(['pndm', 'euler-ancestral'])('%s rejects models that predict x_0', (name) => {
    const config = { ...latentDiffusion, prediction_type: 'sample' };
    expect(() => findScheduler(name).create(config, deterministic)).toThrow(
      /"sample"; .* accepts epsilon, v_prediction/,
    );
  });
});

describe('euler', () => {
  const create = findScheduler('euler').create;

  it.each([
    ['use_beta_sigmas', true, /use_beta_sigmas .* true.*only false/],
    ['use_karras_sigmas', 'yes', /use_karras_sigmas .* "yes".*true or false/],
    ['interpolation_type', 'cubic', /interpolation_type .* "cubic".*linear, log_linear/],
    ['final_sigmas_type', 'one', /final_sigmas_type .* "one".*zero, sigma_min/],
    ['timestep_type', 'whole', /timestep_type .* "whole".*discrete, continuous/],
    ['sigma_max', -1, /sigma_max .* -1.*a number > 0/],
  ])('rejects %s = %j', (key, value, message) => {
    expect(() => create({ ...latentDiffusion, [key]: value }, deterministic)).toThrow(message);
  });

  it('rejects two spacings of noise levels', () => {
    const config = { ...latentDiffusion, use_karras_sigmas: true, use_exponential_sigmas: true };
    expect(() => create(config, deterministic)).toThrow(
      /use_karras_sigmas and use_exponential_sigmas; only one/,
    );
  });

  it('uses Karras levels in place of those of the config under the name euler-karras', () => {
    const karras = findScheduler('euler-karras').create;
    const { timesteps } = create({ ...latentDiffusion, use_karras_sigmas: true }, deterministic);
    expect(create(latentDiffusion, deterministic).timesteps).not.toEqual(timesteps);
    for (const config of [
      latentDiffusion,
      { ...latentDiffusion, use_exponential_sigmas: true },
      { ...latentDiffusion, _use_default_values: ['use_karras_sigmas'] },
    ]) {
      expect(karras(config, deterministic).timesteps).toEqual(timesteps);
    }
  });
});
