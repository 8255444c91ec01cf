import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { standardNormal } from '../../../src/numerics/normal.ts';
import { KNOWN_KEYS } from '../../../src/numerics/schedulers/known-keys.ts';
import { findScheduler, SCHEDULERS } from '../../../src/numerics/schedulers/registry.ts';
import type { SchedulerConfig } from '../../../src/numerics/schedulers/scheduler.ts';

/** Written by tools/parity/make_scheduler_fixtures.py, which documents the format. */
interface Fixture {
  readonly shape: readonly [samples: number, sampleLength: number];
  readonly cases: readonly {
    readonly name: string;
    readonly scheduler: string;
    readonly config: SchedulerConfig;
    readonly eta: number;
    readonly options: { readonly imageSequenceLength?: number };
    readonly runs: readonly (Run | { readonly steps: number; readonly refused: string })[];
  }[];
}

interface Run {
  readonly steps: number;
  readonly stochastic: boolean;
  readonly initNoiseSigma: number;
  readonly timesteps: string;
  readonly latents: string;
  readonly inputScales?: string;
}

const FIXTURES = new URL('../../fixtures/schedulers/', import.meta.url);

function unpack(base64: string): Float32Array {
  const bytes = Buffer.from(base64, 'base64');
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}

/** The numbers of the script, in [-2, 2) and exact in float32. */
function numbers(stream: number, step: number, length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => {
    const x = (stream * 20011 + step * 7129 + i * 911 + 1) % 65521;
    return (((((x * x) % 65521) * 48271) % 65521) - 32760) / 16384;
  });
}

/**
 * The largest difference, relative to the largest expected number, as single ones can be near 0.
 */
function distance(actual: Float32Array, expected: Float32Array): number {
  const scale = Math.max(...expected.map(Math.abs));
  return Math.max(...expected.map((value, i) => Math.abs(actual[i] - value))) / scale;
}

const latentDiffusion: SchedulerConfig = {
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  clip_sample: false,
  steps_offset: 1,
};
const deterministic = { steps: 4, eta: 0 };

describe.each(readdirSync(FIXTURES))('diffusers, %s', (file) => {
  const fixture: Fixture = JSON.parse(readFileSync(new URL(file, FIXTURES), 'utf8'));
  const [samples, sampleLength] = fixture.shape;
  const length = samples * sampleLength;
  const all = fixture.cases.flatMap((config) =>
    config.runs.map((run) => ({ ...config, run, steps: run.steps })),
  );

  it.each(all)('$name, $steps steps', ({ scheduler: name, config, eta, options, steps, run }) => {
    const create = () => findScheduler(name).create(config, { steps, eta, sampleLength, ...options });
    if ('refused' in run) {
      const named = ['steps is', ...KNOWN_KEYS];
      expect(create).toThrow(Error);
      expect(create).toThrow(new RegExp(named.join('|')));
      return;
    }
    const scheduler = create();
    const timesteps = unpack(run.timesteps);
    expect(scheduler.timesteps).toHaveLength(timesteps.length);
    // Whole timesteps are exact; others are interpolated between logarithms of noise levels.
    timesteps.forEach((timestep, i) => {
      const tolerance = Number.isInteger(timestep) ? 0 : 1e-3;
      expect(Math.abs(scheduler.timesteps[i] - timestep), `timestep ${i}`).toBeLessThanOrEqual(tolerance);
    });
    expect(Math.abs(scheduler.initNoiseSigma / run.initNoiseSigma - 1)).toBeLessThan(1e-6);
    expect(scheduler.stochastic).toBe(run.stochastic);

    const trajectory = unpack(run.latents);
    const scales = run.inputScales === undefined ? undefined : unpack(run.inputScales);
    let latents = numbers(0, 0, length).map((value) => value * scheduler.initNoiseSigma);
    for (let step = 0; step < timesteps.length; step++) {
      const input = scheduler.scaleModelInput(latents, step);
      const scale = scales?.[step] ?? 1;
      expect(
        distance(
          input,
          latents.map((value) => value * scale),
        ),
        `input of step ${step}`,
      ).toBeLessThan(1e-6);
      const output = numbers(1, step, length).map((value, i) => 0.75 * value + 0.25 * input[i]);
      const noise = scheduler.stochastic ? numbers(2, step, length) : undefined;
      latents = Float32Array.from(scheduler.step(output, step, latents, noise));
      const expected = trajectory.subarray(step * length, (step + 1) * length);
      expect(distance(latents, expected), `step ${step}`).toBeLessThan(1e-4);
    }
  });
});

/**
 * Schedulers for models such as Stable Diffusion, which one config fits; flow matching needs
 * another.
 */
const variancePreserving = SCHEDULERS.map(({ name }) => name).filter(
  (name) => !name.startsWith('flow-match'),
);

describe.each(variancePreserving)('%s', (name) => {
  const create = findScheduler(name).create;
  // Solvers that integrate the noise cannot step to the level without noise.
  const ends = /^(sde-)?dpmsolver$/.test(name) ? { final_sigmas_type: 'sigma_min' } : {};
  const model = { ...latentDiffusion, ...ends };
  const noiseAt = (index: number, length = 8) => standardNormal({ seed: 1, stream: 0, index }, length);

  it('is elementwise: a batch gives the results of its samples', () => {
    const [batched, first, second] = [0, 1, 2].map(() => create(model, deterministic));
    const join = (a: Float32Array, b: Float32Array) => Float32Array.of(...a, ...b);
    let [both, a, b] = [join(noiseAt(0), noiseAt(1)), noiseAt(0), noiseAt(1)];
    batched.timesteps.forEach((_, step) => {
      const outputs = [noiseAt(10 + step), noiseAt(20 + step)];
      const noises = batched.stochastic ? [noiseAt(30 + step), noiseAt(40 + step)] : [];
      const noise = batched.stochastic ? join(noises[0], noises[1]) : undefined;
      both = Float32Array.from(batched.step(join(outputs[0], outputs[1]), step, both, noise));
      a = Float32Array.from(first.step(outputs[0], step, a, noises[0]));
      b = Float32Array.from(second.step(outputs[1], step, b, noises[1]));
    });
    expect(both).toEqual(join(a, b));
  });

  it('leaves its arguments unchanged', () => {
    const scheduler = create(model, deterministic);
    const [output, latents] = [Float32Array.of(1, 2), Float32Array.of(3, 4)];
    const noise = scheduler.stochastic ? Float32Array.of(5, 6) : undefined;
    scheduler.scaleModelInput(latents, 0);
    const next = scheduler.step(output, 0, latents, noise);
    expect([...output, ...latents, ...(noise ?? [5, 6])]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(next).not.toBe(latents);
    expect(next).not.toBe(output);
  });

  it('copies what it stores: the caller may reuse its arrays', () => {
    const [reusing, copying] = [0, 1].map(() => create(model, deterministic));
    const output = new Float32Array(8);
    let [a, b] = [noiseAt(0), noiseAt(0)];
    copying.timesteps.forEach((_, step) => {
      const noise = copying.stochastic ? noiseAt(30 + step) : undefined;
      output.set(noiseAt(10 + step));
      const next = reusing.step(output, step, a, noise);
      a.fill(Number.NaN);
      a = Float32Array.from(next);
      b = Float32Array.from(copying.step(noiseAt(10 + step), step, b, noise));
    });
    expect(a).toEqual(b);
  });

  it('rejects keys that no scheduler of diffusers knows', () => {
    const config = { ...model, beta_strat: 1, clip: 2 };
    expect(() => create(config, deterministic)).toThrow(
      /keys that no scheduler .* knows: beta_strat, clip\./,
    );
  });

  it("ignores other classes' keys, private keys and quantization_config", () => {
    const config = { ...model, s_churn: 0.5, mask_token_id: 1, _class_name: 'X', quantization_config: {} };
    expect(() => create(config, deterministic)).not.toThrow();
  });

  it.each([
    {
      key: 'beta_schedule',
      value: 'sigmoid',
      message: /beta_schedule .* "sigmoid".*linear, scaled_linear, squared/,
    },
    { key: 'prediction_type', value: 'noise', message: /prediction_type .* "noise".*epsilon,.*v_prediction/ },
    {
      key: 'timestep_spacing',
      value: 'karras',
      message: /timestep_spacing .* "karras"/,
      not: ['lcm', 'tcd'],
    },
    { key: 'beta_start', value: '0.1', message: /beta_start .* "0.1".*a number/ },
    { key: 'steps_offset', value: 0.5, message: /steps_offset .* 0.5.*an integer/, not: ['lcm', 'tcd'] },
    { key: 'num_train_timesteps', value: 0, message: /num_train_timesteps .* 0/ },
    {
      key: 'rescale_betas_zero_snr',
      value: 'yes',
      message: /rescale_betas.* "yes".*true or false/,
      not: ['pndm'],
    },
    { key: 'trained_betas', value: [0.1, 'x'], message: /trained_betas .*a list of numbers from 0 to 1/ },
    { key: 'trained_betas', value: [0.1, 0.2], message: /trained_betas .* has 2 numbers; .*1000/ },
    {
      key: '_class_name',
      value: 'FlowMatchEulerDiscreteScheduler',
      message: /made for FlowMatchEulerDiscreteSch/,
    },
  ])('rejects $key = $value', ({ key, value, message, not = [] }) => {
    const make = () => create({ ...model, [key]: value }, deterministic);
    // A class ignores the keys of others.
    if (not.includes(name)) expect(make).not.toThrow();
    else expect(make).toThrow(message);
  });

  it.each([0, -1, 2.5, 1001, Number.NaN])('rejects %f steps', (steps) => {
    expect(() => create(model, { steps, eta: 0 })).toThrow(/steps is .* from 1 to \d+/);
  });

  it('rejects steps, lengths and noise that do not fit', () => {
    const scheduler = create(model, deterministic);
    const two = new Float32Array(2);
    expect(() => scheduler.step(two, 99, two)).toThrow(/step is 99;.*0 to \d/);
    expect(() => scheduler.step(two, 0, new Float32Array(3))).toThrow(
      /output has 2 numbers and the latents have 3/,
    );
    if (scheduler.stochastic) {
      expect(() => scheduler.step(two, 0, two)).toThrow(/needs 2 numbers of noise, but got none/);
      expect(() => scheduler.step(two, 0, two, new Float32Array(3))).toThrow(
        /needs 2 numbers of noise, but got 3/,
      );
    } else {
      expect(() => scheduler.step(two, 0, two, two)).toThrow(/takes no noise/);
    }
  });

  it('takes steps in order if it stores earlier outputs, else in any order', () => {
    const scheduler = create(model, deterministic);
    const noise = scheduler.stochastic ? noiseAt(3) : undefined;
    const step = (index: number) => scheduler.step(noiseAt(1), index, noiseAt(2), noise);
    const isMultistep = /^(pndm|unipc|.*dpmsolver.*)$/.test(name);
    if (isMultistep)
      expect(() => step(1)).toThrow(/step is 1, but the next step is 0: .* serves one denoising run/);
    const first = step(0);
    if (isMultistep) expect(() => step(0)).toThrow(/step is 0, but the next step is 1/);
    else expect(step(0)).toEqual(first);
  });
});
