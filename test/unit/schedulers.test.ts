import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { standardNormal } from '../../src/numerics/normal.ts';
import { findScheduler, SCHEDULERS } from '../../src/numerics/schedulers/registry.ts';
import type { SchedulerConfig } from '../../src/numerics/schedulers/scheduler.ts';

/** Written by tools/parity/make_scheduler_fixtures.py. */
interface Fixture {
  readonly modelOutputs: readonly (readonly number[])[];
  readonly noises: readonly (readonly number[])[];
  readonly latents: readonly number[];
  readonly cases: readonly {
    readonly name: string;
    readonly config: SchedulerConfig;
    readonly steps: number;
    readonly eta: number;
    readonly timesteps: readonly number[];
    readonly latents: readonly (readonly number[])[];
  }[];
}

function readFixture(name: string): Fixture {
  return JSON.parse(readFileSync(new URL(`../fixtures/schedulers/${name}.json`, import.meta.url), 'utf8'));
}

const latentDiffusion: SchedulerConfig = {
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  clip_sample: false,
  steps_offset: 1,
};
const deterministic = { steps: 4, eta: 0 };

describe.each([
  ['ddim', 'ddim'],
  ['dpmsolver++', 'dpm-solver-multistep'],
])('%s against diffusers', (schedulerName, fixtureName) => {
  const fixture = readFixture(fixtureName);

  it.each(fixture.cases)('$name, $steps steps', ({ config, steps, eta, timesteps, latents: trajectory }) => {
    const scheduler = findScheduler(schedulerName).create(config, { steps, eta });
    expect(scheduler.timesteps).toEqual(timesteps);
    expect(scheduler.initNoiseSigma).toBe(1);
    expect(scheduler.stochastic).toBe(eta > 0);

    let latents = Float32Array.from(fixture.latents);
    trajectory.forEach((expected, step) => {
      const input = scheduler.scaleModelInput(latents, step);
      expect(input).toEqual(latents);
      const noise = scheduler.stochastic ? Float32Array.from(fixture.noises[step]) : undefined;
      latents = Float32Array.from(scheduler.step(Float32Array.from(fixture.modelOutputs[step]), step, latents, noise));
      // Relative to the largest of the latents: single numbers can pass through 0.
      const scale = Math.max(...expected.map(Math.abs));
      expected.forEach((value, i) => {
        expect(Math.abs(latents[i] - value), `step ${step}, number ${i}`).toBeLessThan(1e-5 * scale);
      });
    });
  });
});

describe.each(SCHEDULERS.map(({ name }) => name))('%s', (name) => {
  const create = findScheduler(name).create;

  it('treats every number alike: a batch is its draws side by side', () => {
    const [batched, first, second] = [0, 1, 2].map(() => create(latentDiffusion, deterministic));
    const draw = (index: number) => standardNormal({ seed: 1, stream: 0, index }, 8);
    const join = (a: Float32Array, b: Float32Array) => Float32Array.of(...a, ...b);
    let [both, a, b] = [join(draw(0), draw(1)), draw(0), draw(1)];
    for (let step = 0; step < 4; step++) {
      const outputs = [draw(10 + step), draw(20 + step)];
      both = Float32Array.from(batched.step(join(outputs[0], outputs[1]), step, both));
      a = Float32Array.from(first.step(outputs[0], step, a));
      b = Float32Array.from(second.step(outputs[1], step, b));
    }
    expect(both).toEqual(join(a, b));
  });

  it('leaves its arguments as they are', () => {
    const [output, latents] = [Float32Array.of(1, 2), Float32Array.of(3, 4)];
    const next = create(latentDiffusion, deterministic).step(output, 0, latents);
    expect([...output, ...latents]).toEqual([1, 2, 3, 4]);
    expect(next).not.toBe(latents);
  });

  it('names keys that no scheduler of diffusers knows', () => {
    const config = { ...latentDiffusion, beta_strat: 1, clip: 2 };
    expect(() => create(config, deterministic)).toThrow(/keys that no scheduler .* knows: beta_strat, clip\./);
  });

  it("ignores other classes' keys, private keys and quantization_config", () => {
    const config = {
      ...latentDiffusion,
      skip_prk_steps: true,
      s_churn: 0.5,
      _class_name: 'X',
      quantization_config: {},
    };
    expect(() => create(config, deterministic)).not.toThrow();
  });

  it.each([
    ['beta_schedule', 'sigmoid', /beta_schedule .* "sigmoid".*linear, scaled_linear, squaredcos_cap_v2/],
    ['prediction_type', 'flow_prediction', /prediction_type .* "flow_prediction".*epsilon, sample, v_prediction/],
    ['timestep_spacing', 'karras', /timestep_spacing .* "karras"/],
    ['beta_start', '0.1', /beta_start .* "0.1".*a number/],
    ['steps_offset', 0.5, /steps_offset .* 0.5.*an integer/],
    ['num_train_timesteps', 0, /num_train_timesteps .* 0/],
    ['rescale_betas_zero_snr', 'yes', /rescale_betas_zero_snr .* "yes".*true or false/],
    ['trained_betas', [0.1, 'x'], /trained_betas .*a list of numbers from 0 to 1/],
    ['trained_betas', [0.1, 0.2], /trained_betas .* has 2 numbers; .*1000/],
    ['thresholding', true, /thresholding .* true.*only false/],
    ['_class_name', 'FlowMatchEulerDiscreteScheduler', /made for FlowMatchEulerDiscreteScheduler/],
  ])('refuses %s = %j', (key, value, message) => {
    expect(() => create({ ...latentDiffusion, [key]: value }, deterministic)).toThrow(message);
  });

  it.each([0, -1, 2.5, 1001, Number.NaN])('refuses %f steps', (steps) => {
    expect(() => create(latentDiffusion, { steps, eta: 0 })).toThrow(/steps is .* from 1 to 1000/);
  });

  it('refuses steps and lengths that do not fit', () => {
    const scheduler = create(latentDiffusion, deterministic);
    const two = new Float32Array(2);
    expect(() => scheduler.step(two, 4, two)).toThrow(/step is 4;.*0 to 3/);
    expect(() => scheduler.step(two, 0, new Float32Array(3))).toThrow(/output has 2 numbers, the latents 3/);
    expect(() => scheduler.step(two, 0, two, two)).toThrow(/takes no noise/);
  });
});

describe('ddim', () => {
  const create = findScheduler('ddim').create;
  const two = new Float32Array(2);

  it('needs noise of the right length exactly when eta > 0', () => {
    const scheduler = create(latentDiffusion, { steps: 4, eta: 1 });
    expect(() => scheduler.step(two, 0, two)).toThrow(/needs 2 numbers of noise, got none/);
    expect(() => scheduler.step(two, 0, two, new Float32Array(3))).toThrow(/got 3/);
  });

  it.each([-0.1, 1.1, Number.NaN])('refuses eta = %f', (eta) => {
    expect(() => create(latentDiffusion, { steps: 4, eta })).toThrow(/eta is .* from 0 .* to 1/);
  });

  it('says why a first timestep beyond the training is refused', () => {
    expect(() => create(latentDiffusion, { steps: 1000, eta: 0 })).toThrow(/start at timestep 1000; .* 0 to 999/);
  });

  it('refuses to start an epsilon model from no signal at all', () => {
    const config = { ...latentDiffusion, rescale_betas_zero_snr: true, timestep_spacing: 'trailing' };
    expect(() => create(config, deterministic)).toThrow(/prediction_type is epsilon/);
  });
});

describe('dpmsolver++', () => {
  const create = findScheduler('dpmsolver++').create;

  it.each([
    ['algorithm_type', 'sde-dpmsolver++', /algorithm_type .* "sde-dpmsolver\+\+"/],
    ['algorithm_type', 'dpmsolver', /algorithm_type .* "dpmsolver"/],
    ['solver_order', 3, /solver_order .* 3.*from 1 to 2/],
    ['use_flow_sigmas', true, /use_flow_sigmas/],
    ['use_beta_sigmas', true, /use_beta_sigmas/],
    ['use_exponential_sigmas', true, /use_exponential_sigmas/],
    ['use_lu_lambdas', true, /use_lu_lambdas/],
  ])('refuses %s = %j', (key, value, message) => {
    expect(() => create({ ...latentDiffusion, [key]: value }, deterministic)).toThrow(message);
  });

  it('ignores eta', () => {
    expect(create(latentDiffusion, { steps: 4, eta: 1 }).stochastic).toBe(false);
  });

  it('refuses steps out of order, whose memory would be wrong', () => {
    const scheduler = create(latentDiffusion, deterministic);
    const two = new Float32Array(2);
    expect(() => scheduler.step(two, 1, two)).toThrow(/step is 1 where 0 was to come/);
    scheduler.step(two, 0, two);
    expect(() => scheduler.step(two, 0, two)).toThrow(/step is 0 where 1 was to come/);
  });
});

describe('findScheduler', () => {
  it.each([
    ['ddim', 'ddim'],
    ['DDIMScheduler', 'ddim'],
    ['dpmsolver++', 'dpmsolver++'],
    ['DPMSolverMultistepScheduler', 'dpmsolver++'],
  ])('knows %s', (name, expected) => {
    expect(findScheduler(name).name).toBe(expected);
  });

  it('lists the accepted names for any other', () => {
    expect(() => findScheduler('euler')).toThrow(
      /no scheduler named "euler"; .*ddim \(DDIMScheduler\) and dpmsolver\+\+ \(DPMSolverMultistepScheduler\)/,
    );
  });
});
