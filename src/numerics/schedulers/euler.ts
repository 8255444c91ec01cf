import { overrideConfig, readConfig } from './config.ts';
import { readEulerTimesteps } from './euler-timesteps.ts';
import { readNoiseSchedule } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { exponentialSigmas, karrasSigmas, readSigmaSpacing, sigmaAt, timestepAt, trainingSigmas } from './sigmas.ts';
import { checkNoise, checkStep } from './timesteps.ts';

const PREDICTION_TYPES = ['epsilon', 'sample', 'original_sample', 'v_prediction'] as const;

/**
 * Euler's method on the probability-flow ODE: Karras et al. 2022, "Elucidating the design space of diffusion-based
 * generative models" (arXiv 2206.00364), algorithm 2 without churn, as diffusers' EulerDiscreteScheduler computes it. Latents are
 * x + sigma * noise here: they begin with the deviation of the largest level, and the model is given x / sqrt(sigma^2 + 1).
 */
export const euler: SchedulerDefinition = {
  name: 'euler',
  classNames: ['EulerDiscreteScheduler'],
  aliases: ['Euler', 'euler_discrete', 'k_euler'],
  source: 'Karras et al. 2022, Elucidating the design space of diffusion-based generative models, arXiv 2206.00364',
  usesEta: false,
  create: createEuler,
};

/** The same on Karras' noise levels, whatever the config says. */
export const eulerKarras: SchedulerDefinition = {
  ...euler,
  name: 'euler-karras',
  classNames: [],
  aliases: ['Euler Karras'],
  create: (config, options) =>
    createEuler(overrideConfig(config, { use_karras_sigmas: true, use_exponential_sigmas: false }), options),
};

function createEuler(config: SchedulerConfig, { steps }: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'EulerDiscreteScheduler');
  const schedule = readNoiseSchedule(reader);
  const predictionType = reader.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const spacing = readSigmaSpacing(reader);
  const isLogLinear = reader.choice('interpolation_type', 'linear', ['linear', 'log_linear']) === 'log_linear';
  const isContinuous = reader.choice('timestep_type', 'discrete', ['discrete', 'continuous']) === 'continuous';
  const endsAtZero = reader.choice('final_sigmas_type', 'zero', ['zero', 'sigma_min']) === 'zero';
  const { timesteps: spaced, fromLargest } = readEulerTimesteps(reader, schedule, steps);

  const trainSigmas = trainingSigmas(schedule);
  let timesteps = spaced;
  // log_linear gives one level more than there are timesteps, so that it ends above zero.
  let sigmas = isLogLinear
    ? exponentialSigmas(trainSigmas[trainSigmas.length - 1], trainSigmas[0], steps + 1)
    : spaced.map((timestep) => sigmaAt(timestep, trainSigmas));
  if (spacing) {
    const largest = reader.positiveOrNull('sigma_max') ?? sigmas[0];
    const smallest = reader.positiveOrNull('sigma_min') ?? sigmas[sigmas.length - 1];
    sigmas = (spacing === 'karras' ? karrasSigmas : exponentialSigmas)(largest, smallest, steps);
    timesteps = sigmas.map((sigma) => Math.fround(timestepAt(sigma, trainSigmas)));
  }
  const levels = Float32Array.of(...sigmas, endsAtZero ? 0 : trainSigmas[0]);
  // Models whose time is log(sigma) / 4 (Karras et al. 2022, table 1, column EDM).
  if (isContinuous && predictionType === 'v_prediction')
    timesteps = [...levels.subarray(0, timesteps.length)].map((sigma) => Math.fround(0.25 * Math.log(sigma)));
  const largest = Math.max(...levels);

  return {
    timesteps,
    initNoiseSigma: fromLargest ? largest : Math.sqrt(largest ** 2 + 1),
    stochastic: false,
    scaleModelInput(latents, step) {
      const scale = Math.sqrt(levels[step] ** 2 + 1);
      return latents.map((value) => value / scale);
    },
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      checkNoise(noise, latents.length, false, 'euler is deterministic');
      const { [step]: sigma, [step + 1]: next } = levels;
      const clean = predictClean(modelOutput, latents, sigma, predictionType);
      return eulerStep(latents, clean, sigma, next);
    },
  };
}

/** x_0 by prediction type, rounded to float32 where diffusers rounds. */
export function predictClean(
  output: Float32Array,
  latents: Float32Array,
  sigma: number,
  predictionType: (typeof PREDICTION_TYPES)[number],
): Float32Array {
  if (predictionType === 'epsilon') return latents.map((value, i) => value - Math.fround(sigma * output[i]));
  if (predictionType !== 'v_prediction') return output;
  const energy = Math.fround(Math.fround(sigma * sigma) + 1);
  const ofOutput = Math.fround(-sigma / Math.fround(Math.sqrt(energy)));
  return latents.map((value, i) => Math.fround(output[i] * ofOutput) + Math.fround(value / energy));
}

/**
 * Algorithm 2, lines 4 to 6: d = (x - x_0) / sigma, x' = x + (sigma' - sigma) d. Rounded to float32 where diffusers rounds: models with
 * zero terminal SNR begin with latents of some 4096, and what is left of a step may be a thousandth of what is taken away.
 */
export function eulerStep(latents: Float32Array, clean: Float32Array, sigma: number, next: number): Float32Array {
  const dt = Math.fround(next - sigma);
  return latents.map((value, i) => value + Math.fround(Math.fround(Math.fround(value - clean[i]) / sigma) * dt));
}
