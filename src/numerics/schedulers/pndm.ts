import { roundHalfToEven } from '../rounding.ts';
import { readConfig } from './config.ts';
import { readNoiseSchedule } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { checkNoise, checkOrder, checkStep, checkSteps, checkTimesteps, trailingTimesteps } from './timesteps.ts';

const TIMESTEP_SPACINGS = ['leading', 'linspace', 'trailing'] as const;

/** Runge-Kutta steps that come first, unless they are skipped, and model evaluations of one of them. */
const ORDER = 4;

/**
 * PNDM: Liu et al., "Pseudo numerical methods for diffusion models on manifolds" (ICLR 2022, arXiv 2202.09778), algorithm 2, as
 * diffusers' PNDMScheduler computes it: the scheduler that Stable Diffusion 1.x ships with. `skip_prk_steps` (PLMS) begins with lower orders
 * of the multistep method and asks the model twice at the second timestep, so there is one evaluation more than `steps`; without it
 * the first three steps are Runge-Kutta's, with four evaluations each.
 */
export const pndm: SchedulerDefinition = {
  name: 'pndm',
  classNames: ['PNDMScheduler'],
  aliases: ['PLMS'],
  source: 'Liu et al. 2022, Pseudo numerical methods for diffusion models on manifolds, arXiv 2202.09778',
  usesEta: false,
  create: createPndm,
};

function createPndm(config: SchedulerConfig, { steps }: SchedulerOptions): Scheduler {
  // diffusers' class has no such key; a config that was made for another one has it ignored.
  const reader = readConfig({ ...config, rescale_betas_zero_snr: false }, 'PNDMScheduler');
  const { trainTimesteps, alphasCumprod } = readNoiseSchedule(reader);
  const isVelocity = reader.choice('prediction_type', 'epsilon', ['epsilon', 'v_prediction']) === 'v_prediction';
  const skipsRungeKutta = reader.boolean('skip_prk_steps', false);
  const finalAlpha = reader.boolean('set_alpha_to_one', false) ? 1 : alphasCumprod[0];
  const spacing = reader.choice('timestep_spacing', 'leading', TIMESTEP_SPACINGS);
  const offset = reader.integer('steps_offset', 0, 0, trainTimesteps - 1);
  checkSteps(steps, trainTimesteps);
  if (!skipsRungeKutta && steps < ORDER) {
    throw new RangeError(
      `steps is ${steps}; pndm with its Runge-Kutta steps (skip_prk_steps false) takes ${ORDER} or more. Set skip_prk_steps, or take another scheduler.`,
    );
  }
  const rising = space(spacing, steps, trainTimesteps, offset);
  checkTimesteps([...rising].reverse(), trainTimesteps);
  const stride = Math.floor(trainTimesteps / steps);
  const rungeKutta = skipsRungeKutta ? [] : rungeKuttaTimesteps(rising, Math.floor(stride / 2));
  const multistep = skipsRungeKutta
    ? [...rising.slice(0, -1), ...rising.slice(-2, -1), ...rising.slice(-1)].reverse()
    : rising.slice(0, -3).reverse();
  const timesteps = [...rungeKutta, ...multistep];

  /** Formula (11): the transfer from one timestep to another along the model's output. */
  function transfer(latents: Float32Array, from: number, to: number, output: Float32Array): Float32Array {
    const alpha = alphasCumprod[from];
    const next = to >= 0 ? alphasCumprod[to] : finalAlpha;
    const ofLatents = Math.sqrt(next / alpha);
    const ofNoise = -(next - alpha) / (alpha * Math.sqrt(1 - next) + Math.sqrt(alpha * (1 - alpha) * next));
    const [noiseOfOutput, noiseOfLatents] = isVelocity ? [Math.sqrt(alpha), Math.sqrt(1 - alpha)] : [1, 0];
    return latents.map(
      (value, i) => ofLatents * value + ofNoise * (noiseOfOutput * output[i] + noiseOfLatents * value),
    );
  }

  /** Outputs of the last timesteps, newest last: e_t of the paper. */
  let outputs: Float32Array[] = [];
  /** Latents at which a Runge-Kutta step, or the multistep's double first one, began. */
  let base: Float32Array | null = null;
  /** Sum of a Runge-Kutta step's outputs so far, weighted. */
  let sum: Float32Array | null = null;
  let nextStep = 0;

  function stepRungeKutta(output: Float32Array, step: number, latents: Float32Array): Float32Array {
    // Formula (9): (e1 + 2 e2 + 2 e3 + e4) / 6.
    const part = step % ORDER;
    if (part === 0) {
      outputs.push(output);
      base = latents;
      sum = new Float32Array(output.length);
    }
    const total = sum as Float32Array;
    const weight = part === 0 || part === 3 ? 1 / 6 : 1 / 3;
    for (let i = 0; i < total.length; i++) total[i] += weight * output[i];
    const to = timesteps[step] - (step % 2 ? 0 : Math.floor(stride / 2));
    const from = rungeKutta[step - part];
    return transfer(base as Float32Array, from, to, part === 3 ? total : output);
  }

  function stepMultistep(output: Float32Array, step: number, latents: Float32Array): Float32Array {
    const { [step]: timestep } = timesteps;
    if (step === 1) {
      // The second evaluation at one timestep: Heun's average, from the latents before the first.
      const average = output.map((value, i) => (value + outputs[0][i]) / 2);
      return transfer(base as Float32Array, timestep + stride, timestep, average);
    }
    outputs = [...outputs.slice(-3), output];
    if (step === 0) base = latents;
    return transfer(latents, timestep, timestep - stride, combine(outputs));
  }

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic: false,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      checkNoise(noise, latents.length, false, 'pndm is deterministic');
      checkOrder(step, nextStep);
      nextStep += 1;
      const output = modelOutput.slice();
      return step < rungeKutta.length
        ? stepRungeKutta(output, step, latents.slice())
        : stepMultistep(output, step, latents.slice());
    },
  };
}

/** Formula (12), linear multistep (Adams and Bashforth) of order 1 to 4, by how many outputs there are. */
function combine(outputs: readonly Float32Array[]): Float32Array {
  const weights = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]][
    outputs.length - 1
  ];
  const newestFirst = [...outputs].reverse();
  return outputs[0].map((_, i) => weights.reduce((sum, weight, k) => sum + weight * newestFirst[k][i], 0));
}

/** Each of the last three intervals: its begin, twice its middle, its end, falling. */
function rungeKuttaTimesteps(rising: readonly number[], half: number): number[] {
  const points = rising.slice(-ORDER).flatMap((timestep) => [timestep, timestep + half]);
  return points
    .slice(0, -1)
    .flatMap((timestep) => [timestep, timestep])
    .slice(1, -1)
    .reverse();
}

/** Table 2 of Lin et al. 2023 (arXiv 2305.08891), rising. */
function space(
  spacing: (typeof TIMESTEP_SPACINGS)[number],
  steps: number,
  trainTimesteps: number,
  offset: number,
): number[] {
  if (spacing === 'trailing') return trailingTimesteps(trainTimesteps, trainTimesteps / steps).reverse();
  if (spacing === 'leading') {
    const stride = Math.floor(trainTimesteps / steps);
    return Array.from({ length: steps }, (_, i) => i * stride + offset);
  }
  const stride = steps === 1 ? 0 : (trainTimesteps - 1) / (steps - 1);
  return Array.from({ length: steps }, (_, i) => roundHalfToEven(i * stride));
}
