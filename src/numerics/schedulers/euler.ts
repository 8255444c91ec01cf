import { type ConfigReader, readConfig } from './config.ts';
import { type NoiseSchedule, readNoiseSchedule, trainedSigmas } from './noise-schedule.ts';
import { PREDICTION_TYPES } from './prediction.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import {
  checkSigmas,
  locateSigma,
  readSigmaSpacing,
  type SigmaRange,
  sigmaAt,
  spaceExponentially,
  spaceKarras,
  withKarrasSigmas,
} from './sigmas.ts';
import { checkStep, checkSteps, checkTimesteps, rejectNoise } from './step-checks.ts';
import { linspace, readTimestepSpacing, spaceTimesteps } from './timesteps.ts';

const { fround } = Math;

/**
 * Euler's method: Karras, Aittala, Aila and Laine, "Elucidating the design space of diffusion-based
 * generative models" (NeurIPS 2022, arXiv 2206.00364), algorithm 2 without churn, as diffusers'
 * EulerDiscreteScheduler computes it. Latents are x = x_0 + sigma eps, not scaled down as in DDIM;
 * the model's input is x / sqrt(sigma^2 + 1).
 *
 * All options of diffusers' class are supported except `use_beta_sigmas` (an error); `s_churn` is
 * 0, as in diffusers' pipelines. Timesteps are fractional with the spacing `linspace` and with
 * Karras' and exponential levels. With `timestep_type` continuous and v_prediction they are
 * log(sigma) / 4, as models of EDM's kind expect them. As in diffusers, `interpolation_type`
 * log_linear ends at the lowest trained level and ignores `final_sigmas_type`.
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

/**
 * Euler's method on the noise levels of the same paper's equation 5, in place of those of the
 * config.
 */
export const eulerKarras = withKarrasSigmas(euler, ['k_euler_karras']);

function createEuler(schedulerConfig: SchedulerConfig, { steps }: SchedulerOptions): Scheduler {
  const config = readConfig(schedulerConfig, 'EulerDiscreteScheduler');
  const schedule = readNoiseSchedule(config);
  const { numTrainTimesteps } = schedule;
  const predictionType = config.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const timestepType = config.choice('timestep_type', 'discrete', ['discrete', 'continuous']);
  const spacing = readTimestepSpacing(config, numTrainTimesteps, 'linspace');
  checkSteps(steps, numTrainTimesteps);

  const spaced = spaceTimesteps(spacing, steps, numTrainTimesteps, { round: fround });
  checkTimesteps(spaced, numTrainTimesteps);
  const { sigmas, timesteps: discreteTimesteps } = spaceSigmas(config, schedule, spaced);
  const timesteps =
    timestepType === 'continuous' && predictionType === 'v_prediction'
      ? Array.from(sigmas.subarray(0, -1), (sigma) => fround(0.25 * Math.log(sigma)))
      : discreteTimesteps;
  const maxSigma = sigmas.reduce((a, b) => Math.max(a, b));

  return {
    timesteps,
    initNoiseSigma: spacing.timestepSpacing === 'leading' ? Math.sqrt(maxSigma * maxSigma + 1) : maxSigma,
    stochastic: false,
    scaleModelInput(latents, step, into = new Float32Array(latents.length)) {
      const scale = fround(Math.sqrt(fround(sigmas[step] ** 2) + 1));
      for (let i = 0; i < into.length; i++) into[i] = latents[i] / scale;
      return into;
    },
    step(modelOutput, step, latents, noise, into = new Float32Array(latents.length)) {
      checkStep(step, timesteps, modelOutput, latents, into);
      rejectNoise(noise, 'euler is deterministic');
      const sigma = sigmas[step];
      const dt = fround(sigmas[step + 1] - sigma);
      // Table 1, c_out and c_skip with sigma_data = 1: x_0 = v * cOut + x / cSkipInverse.
      const cSkipInverse = fround(fround(sigma * sigma) + 1);
      const cOut = fround(-sigma / fround(Math.sqrt(cSkipInverse)));
      // Every operation is rounded to float32, as in torch. At the noise level 4096 of a zero
      // terminal SNR, the rounding of a difference changes the third digit of the next latents.
      // Algorithm 2, line 7: dx / dsigma = (x - x_0) / sigma; line 8: x + dt * derivative.
      const advance = (value: number, predOriginalSample: number) =>
        value + fround(fround(fround(value - predOriginalSample) / sigma) * dt);
      if (predictionType === 'sample')
        for (let i = 0; i < into.length; i++) into[i] = advance(latents[i], modelOutput[i]);
      if (predictionType === 'epsilon')
        for (let i = 0; i < into.length; i++)
          into[i] = advance(latents[i], fround(latents[i] - fround(sigma * modelOutput[i])));
      if (predictionType === 'v_prediction')
        for (let i = 0; i < into.length; i++)
          into[i] = advance(
            latents[i],
            fround(fround(modelOutput[i] * cOut) + fround(latents[i] / cSkipInverse)),
          );
      return into;
    },
  };
}

/** The noise levels, one more than timesteps, and the timesteps at which the model knows them. */
function spaceSigmas(
  config: ConfigReader,
  schedule: NoiseSchedule,
  spaced: readonly number[],
): { sigmas: Float32Array; timesteps: readonly number[] } {
  const spacing = readSigmaSpacing(config);
  const sigmaMax = config.positiveOrNull('sigma_max');
  const sigmaMin = config.positiveOrNull('sigma_min');
  const endsAtZero = config.choice('final_sigmas_type', 'zero', ['zero', 'sigma_min']) === 'zero';
  const interpolationType = config.choice('interpolation_type', 'linear', ['linear', 'log_linear']);

  const trained = trainedSigmas(schedule);
  let sigmas =
    interpolationType === 'linear'
      ? spaced.map((timestep) => sigmaAt(timestep, trained))
      : linspace(Math.log(trained[trained.length - 1]), Math.log(trained[0]), spaced.length + 1).map(
          Math.exp,
        );
  let timesteps = spaced;
  if (spacing !== 'timesteps') {
    const range: SigmaRange = [sigmaMax ?? sigmas[0], sigmaMin ?? sigmas[sigmas.length - 1]];
    sigmas = (spacing === 'karras' ? spaceKarras : spaceExponentially)(range, spaced.length);
    timesteps = sigmas.map((sigma) => {
      const [low, share] = locateSigma(sigma, trained);
      return fround(low + share);
    });
  }
  const all = Float32Array.of(...sigmas, endsAtZero ? 0 : trained[0]);
  checkSigmas(all, false);
  return { sigmas: all, timesteps };
}
