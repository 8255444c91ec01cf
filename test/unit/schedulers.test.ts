import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { standardNormal } from '../../src/numerics/normal.ts';
import { findScheduler, SCHEDULERS, schedulerOf, schedulersFor } from '../../src/numerics/schedulers/registry.ts';
import type { Scheduler, SchedulerConfig } from '../../src/numerics/schedulers/scheduler.ts';

interface Case {
  readonly name: string;
  readonly steps: number;
  readonly eta: number;
}

/** Written by tools/parity/make_scheduler_fixtures.py; arrays are base64 of float32. */
interface Fixture {
  readonly modelOutputs: string;
  readonly noises: string;
  readonly latents: string;
  readonly configs: { readonly [name: string]: SchedulerConfig };
  readonly cases: readonly (Case & {
    readonly sigmas?: readonly number[];
    readonly imageSequenceLength?: number;
    readonly timesteps: readonly number[];
    readonly initNoiseSigma: number;
    readonly scales?: string;
    readonly latents: string;
  })[];
  readonly fails: readonly Case[];
}

/** Numbers of all latents in the fixtures: two draws of 4. */
const LENGTH = 8;
/** Largest difference from diffusers, relative to the largest of the latents: single numbers can pass through 0. */
const TOLERANCE = 1e-4;

function readFixture(name: string): Fixture {
  return JSON.parse(readFileSync(new URL(`../fixtures/schedulers/${name}.json`, import.meta.url), 'utf8'));
}

function decode(text: string): Float32Array {
  const bytes = Buffer.from(text, 'base64');
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
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
  ['pndm', 'pndm'],
  ['euler', 'euler'],
  ['euler-ancestral', 'euler-ancestral'],
  ['dpmsolver++', 'dpm-solver-multistep'],
  ['sde-dpmsolver++', 'sde-dpm-solver-multistep'],
  ['unipc', 'unipc'],
  ['lcm', 'lcm'],
  ['tcd', 'tcd'],
  ['flow-match-euler', 'flow-match-euler'],
])('%s against diffusers', (schedulerName, fixtureName) => {
  const fixture = readFixture(fixtureName);
  const { create } = findScheduler(schedulerName);
  const row = (text: string) => {
    const all = decode(text);
    return (step: number) => all.slice(step * LENGTH, (step + 1) * LENGTH);
  };
  const [outputs, noises, first] = [row(fixture.modelOutputs), row(fixture.noises), decode(fixture.latents)];

  it.each(Object.keys(fixture.configs))('%s', (name) => {
    const cases = fixture.cases.filter((one) => one.name === name);
    expect(cases.length + fixture.fails.length).toBeGreaterThan(0);
    for (const { steps, eta, sigmas, imageSequenceLength, ...expected } of cases) {
      const what = `${steps} steps, eta ${eta}`;
      const options = { steps, eta, sampleLength: LENGTH / 2, sigmas, imageSequenceLength };
      const scheduler = create(fixture.configs[name], options);
      expect(scheduler.timesteps, what).toHaveLength(expected.timesteps.length);
      for (const [i, timestep] of scheduler.timesteps.entries())
        expect(Math.abs(timestep - expected.timesteps[i]), `${what}, timestep ${i}`).toBeLessThan(2e-4);
      expect(scheduler.initNoiseSigma / expected.initNoiseSigma, what).toBeCloseTo(1, 6);

      const scales = expected.scales ? decode(expected.scales) : null;
      const trajectory = row(expected.latents);
      let latents: Float32Array = first.map((value) => value * scheduler.initNoiseSigma);
      for (const step of scheduler.timesteps.keys()) {
        const input = scheduler.scaleModelInput(latents, step);
        for (const [i, value] of latents.entries()) expect(input[i] / value).toBeCloseTo(scales?.[step] ?? 1, 5);
        latents = scheduler.step(outputs(step), step, latents, scheduler.stochastic ? noises(step) : undefined);
        const wanted = trajectory(step);
        const largest = Math.max(...wanted.map(Math.abs));
        const difference = Math.max(...latents.map((value, i) => Math.abs(value - wanted[i]))) / largest;
        expect(difference, `${what}, step ${step}`).toBeLessThan(TOLERANCE);
      }
    }
  });

  it('refuses what diffusers fails at, or does better', () => {
    for (const { name, steps, eta } of fixture.fails) {
      const run = () => {
        const options = { steps, eta, imageSequenceLength: 1024 };
        const scheduler = create(fixture.configs[name], options);
        let latents: Float32Array = first.slice();
        for (const step of scheduler.timesteps.keys())
          latents = scheduler.step(outputs(step), step, latents, scheduler.stochastic ? noises(step) : undefined);
        return latents.every(Number.isFinite);
      };
      let result: unknown;
      try {
        result = run();
      } catch (error) {
        result = (error as Error).message.length > 20;
      }
      expect(result, `${name}, ${steps} steps`).toBe(true);
    }
  });
});

const variancePreserving = SCHEDULERS.map(({ name }) => name).filter((name) => name !== 'flow-match-euler');

describe.each(SCHEDULERS.map(({ name }) => name))('%s', (name) => {
  const create = findScheduler(name).create;
  /** Noise for the schedulers that add any. */
  const noiseFor = ({ stochastic }: Scheduler, values: Float32Array) => (stochastic ? values : undefined);

  it('treats every number alike: a batch is its draws side by side', () => {
    const [batched, first, second] = [0, 1, 2].map(() => create(latentDiffusion, deterministic));
    const draw = (index: number) => standardNormal({ seed: 1, stream: 0, index }, 8);
    const join = (a: Float32Array, b: Float32Array) => Float32Array.of(...a, ...b);
    let [both, a, b] = [join(draw(0), draw(1)), draw(0), draw(1)];
    for (let step = 0; step < 4; step++) {
      const outputs = [draw(10 + step), draw(20 + step)];
      const noises = [draw(30 + step), draw(40 + step)];
      const joined = noiseFor(batched, join(noises[0], noises[1]));
      both = Float32Array.from(batched.step(join(outputs[0], outputs[1]), step, both, joined));
      a = Float32Array.from(first.step(outputs[0], step, a, noiseFor(first, noises[0])));
      b = Float32Array.from(second.step(outputs[1], step, b, noiseFor(second, noises[1])));
    }
    expect(both).toEqual(join(a, b));
  });

  it('leaves its arguments as they are', () => {
    const [output, latents] = [Float32Array.of(1, 2), Float32Array.of(3, 4)];
    const scheduler = create(latentDiffusion, deterministic);
    const next = scheduler.step(output, 0, latents, noiseFor(scheduler, Float32Array.of(5, 6)));
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
    ['num_train_timesteps', 0, /num_train_timesteps .* 0/],
    ['_class_name', 'EDMEulerScheduler', /made for EDMEulerScheduler/],
  ])('refuses %s = %j', (key, value, message) => {
    expect(() => create({ ...latentDiffusion, [key]: value }, deterministic)).toThrow(message);
  });

  it.each([0, -1, 2.5, 1001, Number.NaN])('refuses %f steps', (steps) => {
    expect(() => create(latentDiffusion, { steps, eta: 0 })).toThrow(/steps is .* from 1 to 1000/);
  });

  it('refuses steps and lengths that do not fit', () => {
    const scheduler = create(latentDiffusion, deterministic);
    const two = new Float32Array(2);
    expect(() => scheduler.step(two, scheduler.timesteps.length, two)).toThrow(/step is \d+;.*0 to/);
    expect(() => scheduler.step(two, 0, new Float32Array(3))).toThrow(/output has 2 numbers, the latents 3/);
    const wrong = scheduler.stochastic ? undefined : two;
    expect(() => scheduler.step(two, 0, two, wrong)).toThrow(
      scheduler.stochastic ? /needs 2 numbers of noise, got none/ : /takes no noise/,
    );
  });
});

describe.each(variancePreserving)('%s, for variance-preserving models,', (name) => {
  const create = findScheduler(name).create;

  it.each([
    ['beta_schedule', 'sigmoid', /beta_schedule .* "sigmoid".*linear, scaled_linear, squaredcos_cap_v2/],
    ['prediction_type', 'flow_prediction', /prediction_type .* "flow_prediction".*epsilon, .*v_prediction/],
    ['beta_start', '0.1', /beta_start .* "0.1".*a number/],
    ['trained_betas', [0.1, 'x'], /trained_betas .*a list of numbers from 0 to 1/],
    ['trained_betas', [0.1, 0.2], /trained_betas .* has 2 numbers; .*1000/],
    ['_class_name', 'FlowMatchEulerDiscreteScheduler', /made for FlowMatchEulerDiscreteScheduler/],
  ])('refuses %s = %j', (key, value, message) => {
    expect(() => create({ ...latentDiffusion, [key]: value }, deterministic)).toThrow(message);
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
    ['algorithm_type', 'dpmsolver', /algorithm_type .* "dpmsolver"/],
    ['solver_order', 4, /solver_order .* 4.*from 1 to 3/],
    ['use_flow_sigmas', true, /use_flow_sigmas/],
    ['use_beta_sigmas', true, /use_beta_sigmas/],
  ])('refuses %s = %j', (key, value, message) => {
    expect(() => create({ ...latentDiffusion, [key]: value }, deterministic)).toThrow(message);
  });

  it('takes Karras and exponential noise levels, not both', () => {
    const config = { ...latentDiffusion, use_karras_sigmas: true, use_exponential_sigmas: true };
    expect(() => create(config, deterministic)).toThrow(/use_karras_sigmas and use_exponential_sigmas/);
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

describe('a name that ends with -karras', () => {
  it.each(['dpmsolver++', 'sde-dpmsolver++', 'euler'])('%s: its noise levels, whatever the config says', (name) => {
    const config = { ...latentDiffusion, _use_default_values: ['use_karras_sigmas'], use_exponential_sigmas: true };
    const timesteps = findScheduler(`${name}-karras`).create(config, deterministic).timesteps;
    const asked = { ...latentDiffusion, use_karras_sigmas: true };
    expect(timesteps).toEqual(findScheduler(name).create(asked, deterministic).timesteps);
    expect(timesteps).not.toEqual(findScheduler(name).create(latentDiffusion, deterministic).timesteps);
  });
});

describe('dynamic thresholding', () => {
  it.each(['ddim', 'dpmsolver++', 'unipc', 'lcm'])('%s: of each draw by itself', (name) => {
    const config = { ...latentDiffusion, thresholding: true, sample_max_value: 100, prediction_type: 'sample' };
    const create = () => findScheduler(name).create(config, { steps: 1, eta: 0, sampleLength: 4 });
    const small = Float32Array.of(0.1, 0.2, 0.3, 0.4);
    const both = Float32Array.of(...small, 10, 20, 30, 40);
    const alone = create().step(small, 0, new Float32Array(4));
    expect(create().step(both, 0, new Float32Array(8)).slice(0, 4)).toEqual(alone);
    expect(alone.some((value) => value !== 0)).toBe(true);
  });
});

describe('schedulerOf', () => {
  it.each([
    [{ _class_name: 'PNDMScheduler' }, 'pndm'],
    [{ _class_name: 'EulerDiscreteScheduler', use_karras_sigmas: true }, 'euler'],
    [{ _class_name: 'DPMSolverMultistepScheduler' }, 'dpmsolver++'],
    [{ _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'sde-dpmsolver++' }, 'sde-dpmsolver++'],
    [{ _class_name: 'FlowMatchEulerDiscreteScheduler' }, 'flow-match-euler'],
    [{ _class_name: 'HeunDiscreteScheduler' }, undefined],
    [{}, undefined],
  ])('%j: %s', (config, name) => {
    expect(schedulerOf(config)?.name).toBe(name);
  });
});

describe('schedulersFor', () => {
  it('lists what goes with a model', () => {
    const names = (config: SchedulerConfig) => schedulersFor(config).map(({ name }) => name);
    expect(names({ ...latentDiffusion, _class_name: 'PNDMScheduler' })).toEqual(variancePreserving);
    expect(names({ _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3 })).toEqual(['flow-match-euler']);
  });
});

describe('findScheduler', () => {
  it.each([
    ['ddim', 'ddim'],
    ['DDIMScheduler', 'ddim'],
    ['PLMS', 'pndm'],
    ['Euler a', 'euler-ancestral'],
    ['euler_ancestral', 'euler-ancestral'],
    ['DPM++ 2M', 'dpmsolver++'],
    ['DPM++ 2M Karras', 'dpmsolver++-karras'],
    ['dpmpp_2m_sde', 'sde-dpmsolver++'],
    ['DPM++ 2M SDE Karras', 'sde-dpmsolver++-karras'],
    ['UniPCMultistepScheduler', 'unipc'],
    ['DPMSolverMultistepScheduler', 'dpmsolver++'],
  ])('knows %s', (name, expected) => {
    expect(findScheduler(name).name).toBe(expected);
  });

  it('knows every name, class and alias once', () => {
    const plain = (name: string) => name.toLowerCase().replace(/[\s_-]/g, '');
    for (const { name, aliases } of SCHEDULERS)
      for (const known of [name, ...aliases]) expect(findScheduler(known).name, known).toBe(name);
    const names = SCHEDULERS.map(({ name }) => plain(name));
    expect(new Set(names).size).toBe(names.length);
  });

  it('lists the accepted names for any other', () => {
    expect(() => findScheduler('heun')).toThrow(/no scheduler "heun"; there are ddim, pndm, euler, .*flow-match-euler/);
  });
});
