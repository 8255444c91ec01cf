import { type ConfigReader, readConfig, setOver } from './config.ts';
import { type NoiseSchedule, readNoiseSchedule, trainedNoiseLevels } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { refuseNoise } from './step-noise.ts';
import { checkStep, checkSteps, checkTimesteps, linearSpace, trailingTimesteps } from './timesteps.ts';

const { fround } = Math;
const PREDICTION_TYPES = ['epsilon', 'sample', 'v_prediction'] as const;
const TIMESTEP_SPACINGS = ['linspace', 'leading', 'trailing'] as const;

/**
 * Euler's method: Karras, Aittala, Aila and Laine, "Elucidating the design space of diffusion-based generative models"
 * (NeurIPS 2022, arXiv 2206.00364), algorithm 2 without churn, as diffusers' EulerDiscreteScheduler computes it. Latents
 * are x = x_0 + sigma eps, not scaled down as in DDIM; the model is given x / sqrt(sigma^2 + 1).
 *
 * Every option of diffusers' class is there but `use_beta_sigmas` (an error); `s_churn` is 0, as its pipelines leave it.
 * Timesteps lie between the trained ones with linspace spacing and with Karras' and exponential levels. With
 * `timestep_type` continuous and v_prediction they are log(sigma) / 4, which models of EDM's kind are asked with.
 * `interpolation_type` log_linear ends at the lowest trained level, not at `final_sigmas_type`, as in diffusers.
 */
export const euler: SchedulerDefinition = {
  name: 'euler',
  classNames: ['EulerDiscreteScheduler'],
  aliases: ['Euler Discrete', 'k_euler'],
  source:
    'Karras et al. 2022, Elucidating the design space of diffusion-based generative models, arXiv 2206.00364',
  usesEta: false,
  create: createEuler,
};

/** Euler's method on the noise levels of the same paper's equation 5, whatever the config says of them. */
export const eulerKarras: SchedulerDefinition = {
  ...euler,
  name: 'euler-karras',
  classNames: [],
  aliases: ['k_euler_karras'],
  create: (config, options) => createEuler(setOver(config, KARRAS), options),
};

const KARRAS = { use_karras_sigmas: true, use_exponential_sigmas: false, use_beta_sigmas: false };

function createEuler(config: SchedulerConfig, { steps }: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'EulerDiscreteScheduler');
  const schedule = readNoiseSchedule(reader);
  const predictionType = reader.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const isContinuous =
    reader.choice('timestep_type', 'discrete', ['discrete', 'continuous']) === 'continuous';
  const spacing = reader.choice('timestep_spacing', 'linspace', TIMESTEP_SPACINGS);
  const offset = reader.integer('steps_offset', 0, 0, schedule.trainTimesteps - 1);
  checkSteps(steps, schedule.trainTimesteps);

  const spaced = spaceTimesteps(spacing, steps, schedule.trainTimesteps, offset);
  checkTimesteps(spaced, schedule.trainTimesteps);
  const { levels, timesteps: discrete } = spaceLevels(reader, schedule, spaced);
  const timesteps =
    isContinuous && predictionType === 'v_prediction'
      ? Array.from(levels.subarray(0, -1), (level) => fround(0.25 * Math.log(level)))
      : discrete;
  const largest = levels.reduce((a, b) => Math.max(a, b));

  return {
    timesteps,
    initNoiseSigma: spacing === 'leading' ? Math.sqrt(largest * largest + 1) : largest,
    stochastic: false,
    scaleModelInput(latents, step) {
      const scale = fround(Math.sqrt(fround(levels[step] ** 2) + 1));
      return latents.map((value) => value / scale);
    },
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      refuseNoise(noise, 'euler is deterministic');
      const level = levels[step];
      const change = fround(levels[step + 1] - level);
      // v's share in x_0 and the latents' (table 1 of the paper, c_out and c_skip with a data deviation of 1).
      const scale = fround(fround(level * level) + 1);
      const cleanOfOutput = fround(-level / fround(Math.sqrt(scale)));
      const next = new Float32Array(latents.length);
      for (let i = 0; i < next.length; i++) {
        // In float32, operation by operation, as torch: at the noise level 4096 of a zero terminal SNR the rounding of
        // a difference shows in the third digit of what comes next.
        let clean = modelOutput[i];
        if (predictionType === 'epsilon') clean = fround(latents[i] - fround(level * modelOutput[i]));
        if (predictionType === 'v_prediction') {
          clean = fround(fround(modelOutput[i] * cleanOfOutput) + fround(latents[i] / scale));
        }
        // Algorithm 2, line 7, dx / dsigma = (x - x_0) / sigma, and line 8.
        const derivative = fround(fround(latents[i] - clean) / level);
        next[i] = latents[i] + fround(derivative * change);
      }
      return next;
    },
  };
}

/** Noise levels, one more than there are steps to make, and the timesteps at which the model knows them. */
function spaceLevels(
  reader: ConfigReader,
  schedule: NoiseSchedule,
  spaced: readonly number[],
): { levels: Float32Array; timesteps: readonly number[] } {
  reader.refuse('use_beta_sigmas');
  const usesKarras = reader.boolean('use_karras_sigmas', false);
  const usesExponential = reader.boolean('use_exponential_sigmas', false);
  if (usesKarras && usesExponential) {
    throw new Error(
      'The scheduler config sets use_karras_sigmas and use_exponential_sigmas; only one can be true.',
    );
  }
  const largest = reader.positiveOrNull('sigma_max');
  const smallest = reader.positiveOrNull('sigma_min');
  const endsAtZero = reader.choice('final_sigmas_type', 'zero', ['zero', 'sigma_min']) === 'zero';
  const isLinear = reader.choice('interpolation_type', 'linear', ['linear', 'log_linear']) === 'linear';

  const trained = trainedNoiseLevels(schedule);
  let levels = isLinear
    ? spaced.map((timestep) => interpolate(trained, timestep))
    : linearSpace(Math.log(trained[trained.length - 1]), Math.log(trained[0]), spaced.length + 1).map(
        Math.exp,
      );
  let timesteps = spaced;
  if (usesKarras || usesExponential) {
    const [from, to] = [largest ?? levels[0], smallest ?? levels[levels.length - 1]];
    levels = usesKarras ? spaceKarras(from, to, spaced.length) : spaceExponentially(from, to, spaced.length);
    timesteps = levels.map((level) => fround(findTimestep(level, trained)));
  }
  const unusable = levels.find((level) => !(level > 0 && level < Number.POSITIVE_INFINITY));
  if (unusable !== undefined) {
    throw new Error(
      `The scheduler config leads to the noise level ${unusable}; it must lie between 0 and infinity. ` +
        'Check beta_start, beta_end and trained_betas: a beta of 0 adds no noise, one of 1 leaves nothing else.',
    );
  }
  return { levels: Float32Array.of(...levels, endsAtZero ? 0 : trained[0]), timesteps };
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

/** The paper's equation 5 with rho = 7. */
function spaceKarras(largest: number, smallest: number, steps: number): number[] {
  const [from, to] = [largest ** (1 / 7), smallest ** (1 / 7)];
  return linearSpace(0, 1, steps).map((ramp) => (from + ramp * (to - from)) ** 7);
}

/** Evenly in log(sigma). */
function spaceExponentially(largest: number, smallest: number, steps: number): number[] {
  return linearSpace(Math.log(largest), Math.log(smallest), steps).map(Math.exp);
}

/** The timestep whose noise level is `level`, linear in log(sigma) between the trained ones. */
function findTimestep(level: number, trained: Float32Array): number {
  let low = 0;
  while (low < trained.length - 2 && trained[low + 1] <= level) low += 1;
  const [from, to] = [fround(Math.log(trained[low])), fround(Math.log(trained[low + 1]))];
  return low + Math.min(1, Math.max(0, (Math.log(level) - from) / (to - from)));
}
