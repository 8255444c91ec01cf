import { describe, expect, it } from 'vitest';
import { standardNormal } from '../../../src/numerics/normal.ts';
import { findScheduler } from '../../../src/numerics/schedulers/registry.ts';
import type { SchedulerConfig } from '../../../src/numerics/schedulers/scheduler.ts';

const latentDiffusion: SchedulerConfig = {
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  steps_offset: 1,
};
const four = { steps: 4, eta: 0 };
const noiseAt = (index: number, length = 8) => standardNormal({ seed: 1, stream: 0, index }, length);

/** The latents after all steps with fixed model outputs and noises. */
function sample(name: string, config: SchedulerConfig, steps = 4, from = noiseAt(0)): Float32Array {
  const scheduler = findScheduler(name).create(config, { steps, eta: 0 });
  let latents = from.map((value) => value * scheduler.initNoiseSigma);
  scheduler.timesteps.forEach((_, step) => {
    const noise = scheduler.stochastic ? noiseAt(100 + step, latents.length) : undefined;
    latents = Float32Array.from(scheduler.step(noiseAt(10 + step, latents.length), step, latents, noise));
  });
  return latents;
}

describe.each(['dpmsolver++', 'sde-dpmsolver++', 'unipc'])('%s', (name) => {
  const create = findScheduler(name).create;

  it.each([
    ['use_beta_sigmas', true, /use_beta_sigmas .* true.*only false/],
    ['use_karras_sigmas', 'yes', /use_karras_sigmas .* "yes".*true or false/],
    ['solver_order', 4, /solver_order .* 4.*from 1 to 3/],
    ['solver_order', 0, /solver_order .* 0.*from 1 to 3/],
    ['solver_type', 'ralston', /solver_type .* "ralston"/],
    ['final_sigmas_type', 'one', /final_sigmas_type .* "one".*zero, sigma_min/],
    ['sigma_max', -1, undefined],
    ['beta_start', 0, undefined],
    ['thresholding', 'yes', /thresholding .* "yes".*true or false/],
  ])('accepts or rejects %s = %j', (key, value, message) => {
    const make = () => create({ ...latentDiffusion, [key]: value }, four);
    if (message === undefined) expect(make).not.toThrow();
    else expect(make).toThrow(message);
  });

  it('reads the range of noise levels only for a spacing that uses it', () => {
    const config = { ...latentDiffusion, sigma_max: -1 };
    expect(() => create({ ...config, use_karras_sigmas: true }, four)).toThrow(
      /sigma_max .* -1.*a number > 0/,
    );
  });

  it('rejects noise levels without noise or without signal, which would give NaN', () => {
    const config = { ...latentDiffusion, steps_offset: 0, use_karras_sigmas: true };
    expect(() => create({ ...config, beta_start: 0 }, four)).toThrow(/noise level .* beta_start/);
    expect(() => create({ ...config, beta_end: 1 }, four)).toThrow(/noise level .* beta_end/);
  });

  it('rejects two spacings of noise levels', () => {
    const config = { ...latentDiffusion, use_karras_sigmas: true, use_exponential_sigmas: true };
    expect(() => create(config, four)).toThrow(/use_karras_sigmas and use_exponential_sigmas; only one/);
  });

  it('rejects a first timestep beyond the training, and strides of 0', () => {
    const config = { ...latentDiffusion, timestep_spacing: 'leading' };
    expect(() => create({ ...config, steps_offset: 500 }, { steps: 4, eta: 0 })).toThrow(
      /start at timestep 1300/,
    );
    expect(() => create(config, { steps: 1000, eta: 0 })).toThrow(
      /steps is 1000; .* leading .* less than 1000/,
    );
  });

  it('ignores eta', () => {
    const { stochastic } = create(latentDiffusion, { steps: 4, eta: 1 });
    expect(stochastic).toBe(create(latentDiffusion, four).stochastic);
  });

  it('thresholds each sample by itself', () => {
    const config = {
      ...latentDiffusion,
      thresholding: true,
      dynamic_thresholding_ratio: 0.7,
      sample_max_value: 30,
      prediction_type: 'sample',
    };
    const step = (sampleLength: number | undefined, output: Float32Array) => {
      const scheduler = create(config, { ...four, sampleLength });
      const noise = scheduler.stochastic ? new Float32Array(output.length) : undefined;
      return Float32Array.from(scheduler.step(output, 0, new Float32Array(output.length), noise));
    };
    const wide = noiseAt(2).map((value) => value * 2);
    const huge = noiseAt(1).fill(1e6);
    const alone = step(8, wide);
    expect(step(8, Float32Array.of(...wide, ...huge)).subarray(0, 8)).toEqual(alone);
    expect(step(undefined, Float32Array.of(...wide, ...huge)).subarray(0, 8)).not.toEqual(alone);
  });

  it('does not move if the last noise level equals the one before it', () => {
    const kinds = [{ use_karras_sigmas: true }, { use_exponential_sigmas: true }];
    for (const kind of kinds) {
      for (const more of [{}, { solver_type: 'heun' }, { solver_order: 3 }]) {
        const config = { ...latentDiffusion, ...kind, ...more, final_sigmas_type: 'sigma_min' };
        const latents = sample(name, { ...config, lower_order_final: false });
        expect(latents.every(Number.isFinite)).toBe(true);
      }
    }
  });

  it('rejects an empty range of noise levels', () => {
    const config = { ...latentDiffusion, use_karras_sigmas: true, sigma_max: 1 };
    expect(() => create({ ...config, sigma_min: 1 }, four)).toThrow(
      /sigma_min = 1, .* below .* sigma_max = 1/,
    );
    expect(() => create({ ...config, sigma_min: 0.5 }, four)).not.toThrow();
  });
});

describe('DPM-Solver', () => {
  it.each(['dpmsolver++', 'sde-dpmsolver++'])(
    '%s has the algorithm of its name, whatever algorithm_type is',
    (name) => {
      const expected = sample(name, { ...latentDiffusion, algorithm_type: name });
      for (const algorithm_type of ['dpmsolver++', 'sde-dpmsolver++', 'dpmsolver', 'sde-dpmsolver', 'deis']) {
        expect(sample(name, { ...latentDiffusion, algorithm_type })).toEqual(expected);
      }
      expect(() => sample(name, { ...latentDiffusion, algorithm_type: 'ddim' })).toThrow(
        /algorithm_type .* "ddim"/,
      );
    },
  );

  it.each(['dpmsolver++', 'sde-dpmsolver++'])(
    '%s-karras uses Karras levels in place of those of the config',
    (name) => {
      const expected = sample(name, { ...latentDiffusion, use_karras_sigmas: true });
      expect(sample(name, latentDiffusion)).not.toEqual(expected);
      for (const more of [
        {},
        { use_exponential_sigmas: true },
        { _use_default_values: ['use_karras_sigmas'] },
      ]) {
        expect(sample(`${name}-karras`, { ...latentDiffusion, ...more })).toEqual(expected);
      }
    },
  );

  it.each(['dpmsolver', 'sde-dpmsolver'])('%s rejects what it cannot do with the option to set', (name) => {
    const create = findScheduler(name).create;
    expect(() => create(latentDiffusion, four)).toThrow(
      /final_sigmas_type .* zero; .*dpmsolver accepts only sigma_min/,
    );
    const config = { ...latentDiffusion, final_sigmas_type: 'sigma_min' };
    expect(() => create({ ...config, prediction_type: 'flow_prediction' }, four)).toThrow(
      /accepts epsilon, sample, v_p/,
    );
    const third = () => create({ ...config, solver_order: 3 }, four);
    if (name === 'sde-dpmsolver') expect(third).toThrow(/solver_order .* 3.*from 1 to 2/);
    else expect(third).not.toThrow();
  });

  it.each(['use_karras_sigmas', 'use_lu_lambdas', 'use_exponential_sigmas'])(
    'rejects %s of a flow',
    (key) => {
      const config = { use_flow_sigmas: true, prediction_type: 'flow_prediction', [key]: true };
      expect(() => findScheduler('dpmsolver++').create(config, four)).toThrow(
        /use_flow_sigmas and .* levels.*only one of/,
      );
    },
  );
});

describe('unipc', () => {
  const create = findScheduler('unipc').create;
  const aboveZero = { ...latentDiffusion, final_sigmas_type: 'sigma_min' };

  it.each([
    ['solver_p', ['diffusers', 'DDIMScheduler'], /solver_p .* Remove solver_p/],
    ['disable_corrector', [0, -1], /disable_corrector .* \[0,-1\].*a list of integers >= 0/],
    ['disable_corrector', 2, /disable_corrector .* 2.*a list of integers/],
    ['predict_x0', 'no', /predict_x0 .* "no".*true or false/],
    ['predict_x0', false, /final_sigmas_type .* zero, and predict_x0 is false/],
    ['solver_type', 'bh1', /final_sigmas_type .* zero, and solver_type is bh1/],
    ['lower_order_final', false, /final_sigmas_type .* zero, and lower_order_final is false/],
    ['shift_terminal', 0.1, /shift_terminal .* 0.1; .* effect only with use_flow_sigmas/],
  ])('rejects %s = %j', (key, value, message) => {
    expect(() => create({ ...latentDiffusion, [key]: value }, four)).toThrow(message);
  });

  it('ends above zero with all of its methods', () => {
    for (const more of [{ predict_x0: false }, { solver_type: 'bh1' }, { lower_order_final: false }]) {
      expect(sample('unipc', { ...aboveZero, ...more }).every(Number.isFinite)).toBe(true);
    }
  });

  it('rejects exponential levels of a flow, but not Karras levels', () => {
    const flow = { use_flow_sigmas: true, prediction_type: 'flow_prediction' };
    expect(() => create({ ...flow, use_exponential_sigmas: true }, four)).toThrow(
      /use_flow_sigmas and exponential/,
    );
    expect(() => create({ ...flow, use_karras_sigmas: true }, four)).not.toThrow();
  });

  it('needs the size of the picture for a dynamic shift', () => {
    const config = { use_flow_sigmas: true, prediction_type: 'flow_prediction', use_dynamic_shifting: true };
    expect(() => create(config, four)).toThrow(/imageSequenceLength is missing; with use_dynamic_shifting/);
    const [small, large] = [256, 4096].map((imageSequenceLength) =>
      create(config, { ...four, imageSequenceLength }),
    );
    expect(small.timesteps[2]).toBeLessThan(large.timesteps[2]);
  });
});

describe.each(['dpmsolver++', 'unipc'])('%s on the levels of a flow', (name) => {
  const create = findScheduler(name).create;

  it.each([
    ['FlowMatchEulerDiscreteScheduler', true],
    ['UniPCMultistepScheduler', true],
    ['FlowMatchEulerDiscreteScheduler', false],
  ])('samples a model of %s when use_flow_sigmas is %s', (_class_name, use_flow_sigmas) => {
    const make = () => create({ _class_name, use_flow_sigmas, prediction_type: 'flow_prediction' }, four);
    if (use_flow_sigmas) expect(make).not.toThrow();
    else expect(make).toThrow(/made for FlowMatchEulerDiscreteScheduler/);
  });

  it('rejects a shift that leaves no signal', () => {
    const config = { use_flow_sigmas: true, prediction_type: 'flow_prediction' };
    expect(() => create({ ...config, flow_shift: 1e9 }, four)).toThrow(
      /noise level 1; .* between 0 and 1.*flow_shift/,
    );
    expect(() => create({ ...config, flow_shift: 12 }, four)).not.toThrow();
  });
});
