import { readConfig } from './config.ts';
import { eulerStep, predictClean } from './euler.ts';
import { readEulerTimesteps } from './euler-timesteps.ts';
import { readNoiseSchedule } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { sigmaAt, trainingSigmas } from './sigmas.ts';
import { checkNoise, checkStep } from './timesteps.ts';

const PREDICTION_TYPES = ['epsilon', 'v_prediction'] as const;

/**
 * Euler's method with ancestral sampling: each step goes down further than it has to and adds noise up to the next level (Song et
 * al. 2021, arXiv 2011.13456, in the variance-exploding form of Crowson's k-diffusion, sample_euler_ancestral), as diffusers'
 * EulerAncestralDiscreteScheduler computes it.
 */
export const eulerAncestral: SchedulerDefinition = {
  name: 'euler-ancestral',
  classNames: ['EulerAncestralDiscreteScheduler'],
  aliases: ['Euler a', 'euler_ancestral_discrete', 'k_euler_a'],
  source: 'Crowson, k-diffusion, sample_euler_ancestral; Song et al. 2021, arXiv 2011.13456',
  usesEta: false,
  create: createEulerAncestral,
};

function createEulerAncestral(config: SchedulerConfig, { steps }: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'EulerAncestralDiscreteScheduler');
  const schedule = readNoiseSchedule(reader);
  const predictionType = reader.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const { timesteps, fromLargest } = readEulerTimesteps(reader, schedule, steps);
  const trainSigmas = trainingSigmas(schedule);
  const levels = Float32Array.of(...timesteps.map((timestep) => sigmaAt(timestep, trainSigmas)), 0);
  const largest = Math.max(...levels);

  return {
    timesteps,
    initNoiseSigma: fromLargest ? largest : Math.sqrt(largest ** 2 + 1),
    stochastic: true,
    scaleModelInput(latents, step) {
      const scale = Math.sqrt(levels[step] ** 2 + 1);
      return latents.map((value) => value / scale);
    },
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      checkNoise(noise, latents.length, true, 'euler-ancestral adds noise');
      const { [step]: sigma, [step + 1]: next } = levels;
      // The new noise's share of the next level, and how far down the deterministic part goes.
      const [from, to] = [Math.fround(sigma * sigma), Math.fround(next * next)];
      const up = Math.fround(Math.sqrt(Math.fround(Math.fround(to * Math.fround(from - to)) / from)));
      const down = Math.fround(Math.sqrt(Math.max(0, Math.fround(to - Math.fround(up * up)))));
      const moved = eulerStep(latents, predictClean(modelOutput, latents, sigma, predictionType), sigma, down);
      return moved.map((value, i) => value + Math.fround(up * (noise as Float32Array)[i]));
    },
  };
}
