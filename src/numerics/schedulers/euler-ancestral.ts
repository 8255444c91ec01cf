import { readConfig } from './config.ts';
import { readNoiseSchedule, trainedNoiseLevels } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { checkNoise } from './step-noise.ts';
import { checkStep, checkSteps, checkTimesteps, linearSpace, trailingTimesteps } from './timesteps.ts';

const { fround } = Math;
const PREDICTION_TYPES = ['epsilon', 'v_prediction'] as const;
const TIMESTEP_SPACINGS = ['linspace', 'leading', 'trailing'] as const;

/**
 * Euler's method with ancestral sampling: Crowson, k-diffusion (github.com/crowsonkb/k-diffusion), `sample_euler_ancestral`,
 * as diffusers' EulerAncestralDiscreteScheduler computes it. A step goes below the next noise level by Euler's method
 * and back up to it with fresh noise, which is DDPM's (Ho, Jain and Abbeel 2020, arXiv 2006.11239) in the latents
 * x = x_0 + sigma eps. The noise of the last step has no weight.
 *
 * Every option of diffusers' class is there; it knows no prediction of x_0 and no Karras levels.
 */
export const eulerAncestral: SchedulerDefinition = {
  name: 'euler-ancestral',
  classNames: ['EulerAncestralDiscreteScheduler'],
  aliases: ['Euler a', 'Euler Ancestral Discrete', 'k_euler_a', 'k_euler_ancestral'],
  source: 'Crowson 2022, k-diffusion; Ho, Jain and Abbeel 2020, arXiv 2006.11239',
  usesEta: false,
  create: createEulerAncestral,
};

function createEulerAncestral(config: SchedulerConfig, { steps }: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'EulerAncestralDiscreteScheduler');
  const schedule = readNoiseSchedule(reader);
  const { trainTimesteps } = schedule;
  const predictsNoise = reader.choice('prediction_type', 'epsilon', PREDICTION_TYPES) === 'epsilon';
  const spacing = reader.choice('timestep_spacing', 'linspace', TIMESTEP_SPACINGS);
  const offset = reader.integer('steps_offset', 0, 0, trainTimesteps - 1);
  checkSteps(steps, trainTimesteps);
  const timesteps = spaceTimesteps(spacing, steps, trainTimesteps, offset);
  checkTimesteps(timesteps, trainTimesteps);

  const trained = trainedNoiseLevels(schedule);
  const levels = Float32Array.of(...timesteps.map((timestep) => interpolate(trained, timestep)), 0);
  const unusable = levels.subarray(0, -1).find((level) => !(level > 0 && level < Number.POSITIVE_INFINITY));
  if (unusable !== undefined) {
    throw new Error(
      `The scheduler config leads to the noise level ${unusable}; it must lie between 0 and infinity. ` +
        'Check beta_start, beta_end and trained_betas: a beta of 0 adds no noise, one of 1 leaves nothing else.',
    );
  }
  const largest = levels[0];

  return {
    timesteps,
    initNoiseSigma: spacing === 'leading' ? Math.sqrt(largest * largest + 1) : largest,
    stochastic: true,
    scaleModelInput(latents, step) {
      const scale = fround(Math.sqrt(fround(levels[step] ** 2) + 1));
      return latents.map((value) => value / scale);
    },
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      checkNoise(noise, latents, 'euler-ancestral adds noise at every step');
      const [level, target] = [levels[step], levels[step + 1]];
      // In float32, operation by operation, as torch: down^2 is a small difference of large numbers, and so is x - x_0
      // at the noise level 4096 of a zero terminal SNR.
      const [levelSquared, targetSquared] = [fround(level * level), fround(target * target)];
      const up = fround(
        Math.sqrt(fround(fround(targetSquared * fround(levelSquared - targetSquared)) / levelSquared)),
      );
      const down = fround(Math.sqrt(Math.max(0, fround(targetSquared - fround(up * up)))));
      const change = fround(down - level);
      const scale = fround(levelSquared + 1);
      const cleanOfOutput = fround(-level / fround(Math.sqrt(scale)));
      const next = new Float32Array(latents.length);
      for (let i = 0; i < next.length; i++) {
        const clean = predictsNoise
          ? fround(latents[i] - fround(level * modelOutput[i]))
          : fround(fround(modelOutput[i] * cleanOfOutput) + fround(latents[i] / scale));
        const derivative = fround(fround(latents[i] - clean) / level);
        next[i] = fround(latents[i] + fround(derivative * change)) + fround(noise[i] * up);
      }
      return next;
    },
  };
}

/** Table 2 of Lin et al. 2023 (arXiv 2305.08891), without rounding where diffusers' Euler does not round. */
function spaceTimesteps(
  spacing: (typeof TIMESTEP_SPACINGS)[number],
  steps: number,
  trainTimesteps: number,
  offset: number,
): number[] {
  if (spacing === 'trailing') return trailingTimesteps(trainTimesteps, trainTimesteps / steps);
  if (spacing === 'leading') {
    const stride = Math.floor(trainTimesteps / steps);
    return Array.from({ length: steps }, (_, i) => (steps - 1 - i) * stride + offset);
  }
  return linearSpace(0, trainTimesteps - 1, steps)
    .map(fround)
    .reverse();
}

/** The noise level at a timestep between trained ones, linear in the levels. */
function interpolate(trained: Float32Array, timestep: number): number {
  const low = Math.floor(timestep);
  const high = Math.min(low + 1, trained.length - 1);
  return trained[low] + (timestep - low) * (trained[high] - trained[low]);
}
