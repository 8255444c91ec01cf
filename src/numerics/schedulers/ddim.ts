import { roundHalfToEven } from '../rounding.ts';
import { readConfig } from './config.ts';
import { checkNoiseLevels, readNoiseSchedule } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { checkNoise, refuseNoise } from './step-noise.ts';
import { clip, readThreshold } from './thresholding.ts';
import { checkStep, checkSteps, checkTimesteps, trailingTimesteps } from './timesteps.ts';

const PREDICTION_TYPES = ['epsilon', 'sample', 'v_prediction'] as const;
const TIMESTEP_SPACINGS = ['leading', 'linspace', 'trailing'] as const;

/**
 * DDIM: Song, Meng and Ermon, "Denoising diffusion implicit models" (ICLR 2021, arXiv 2010.02502), formulas (12) and
 * (16), as diffusers' DDIMScheduler computes them. With eta = 0 the picture is a function of the initial noise alone;
 * eta = 1, FIND's setting, adds the noise of DDPM at every step.
 *
 * Defaults are those of diffusers' class, which clips x_0 to [-1, 1]: the config of a latent model says
 * `clip_sample: false`. With eta = 1 from a timestep without any signal, the direction's share is 0; diffusers takes the
 * root of a rounding error there, which is up to 2e-4 or NaN.
 */
export const ddim: SchedulerDefinition = {
  name: 'ddim',
  classNames: ['DDIMScheduler'],
  aliases: [],
  source: 'Song, Meng and Ermon 2021, Denoising diffusion implicit models, arXiv 2010.02502',
  usesEta: true,
  create: createDdim,
};

function createDdim(config: SchedulerConfig, { steps, eta, sampleLength }: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'DDIMScheduler');
  const { trainTimesteps, alphasCumprod } = readNoiseSchedule(reader);
  const predictionType = reader.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const threshold = readThreshold(reader, sampleLength);
  const clips = reader.boolean('clip_sample', true);
  const clipRange = reader.number('clip_sample_range', 1, 0, Number.MAX_VALUE);
  const finalAlpha = reader.boolean('set_alpha_to_one', true) ? 1 : alphasCumprod[0];
  const spacing = reader.choice('timestep_spacing', 'leading', TIMESTEP_SPACINGS);
  const offset = reader.integer('steps_offset', 0, 0, trainTimesteps - 1);
  checkSteps(steps, trainTimesteps);
  if (!(eta >= 0 && eta <= 1))
    throw new RangeError(`eta is ${eta}; it must be from 0 (deterministic) to 1 (DDPM).`);

  const timesteps = spaceTimesteps(spacing, steps, trainTimesteps, offset);
  checkTimesteps(timesteps, trainTimesteps);
  checkNoiseLevels(timesteps, alphasCumprod, predictionType === 'epsilon');
  const stride = Math.floor(trainTimesteps / steps);
  const stochastic = eta > 0;

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      if (stochastic) checkNoise(noise, latents, `eta is ${eta}`);
      else refuseNoise(noise, 'eta is 0');
      const timestep = timesteps[step];
      // As diffusers: one stride back, whatever the spacing.
      const alpha = alphasCumprod[timestep];
      const previousAlpha = timestep >= stride ? alphasCumprod[timestep - stride] : finalAlpha;
      const signal = Math.sqrt(alpha);
      const deviation = Math.sqrt(1 - alpha);

      // x_0 and eps as sums of the latents and the model's output (formula (9) and its forms for v and x_0).
      let [cleanOfLatents, cleanOfOutput, noiseOfLatents, noiseOfOutput] = [
        0,
        1,
        1 / deviation,
        -signal / deviation,
      ];
      if (predictionType === 'epsilon') {
        [cleanOfLatents, cleanOfOutput, noiseOfLatents, noiseOfOutput] = [
          1 / signal,
          -deviation / signal,
          0,
          1,
        ];
      } else if (predictionType === 'v_prediction') {
        [cleanOfLatents, cleanOfOutput, noiseOfLatents, noiseOfOutput] = [
          signal,
          -deviation,
          deviation,
          signal,
        ];
      }

      // sigma_t(eta), formula (16).
      const variance = ((1 - previousAlpha) / (1 - alpha)) * (1 - alpha / previousAlpha);
      const sigma = eta * Math.sqrt(Math.max(0, variance));
      // Formula (12): x_{t-1} = sqrt(a_{t-1}) x_0 + sqrt(1 - a_{t-1} - sigma^2) eps + sigma noise.
      const previousSignal = Math.sqrt(previousAlpha);
      const direction = Math.sqrt(Math.max(0, 1 - previousAlpha - sigma * sigma));
      const clean = new Float32Array(latents.length);
      for (let i = 0; i < clean.length; i++)
        clean[i] = cleanOfLatents * latents[i] + cleanOfOutput * modelOutput[i];
      // Thresholding comes before clipping, and instead of it.
      if (threshold) threshold(clean);
      else if (clips) clip(clean, clipRange);
      const previous = new Float32Array(latents.length);
      for (let i = 0; i < previous.length; i++) {
        // eps stays the model's own, as in diffusers, though x_0 was brought into range.
        previous[i] =
          previousSignal * clean[i] +
          direction * (noiseOfLatents * latents[i] + noiseOfOutput * modelOutput[i]);
      }
      if (noise !== undefined) for (let i = 0; i < noise.length; i++) previous[i] += sigma * noise[i];
      return previous;
    },
  };
}

/** Table 2 of Lin et al. 2023 (arXiv 2305.08891), rounded as diffusers' DDIM rounds. */
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
  const stride = steps === 1 ? 0 : (trainTimesteps - 1) / (steps - 1);
  return Array.from({ length: steps }, (_, i) => roundHalfToEven((steps - 1 - i) * stride));
}
