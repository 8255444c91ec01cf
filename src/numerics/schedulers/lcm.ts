import { readConfig } from './config.ts';
import { checkNoiseLevels, readNoiseSchedule } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { checkNoise } from './step-noise.ts';
import { clip, readThreshold } from './thresholding.ts';
import { checkStep, distilledTimesteps } from './timesteps.ts';

const PREDICTION_TYPES = ['epsilon', 'sample', 'v_prediction'] as const;
/** Standard deviation of the data in the boundary condition; diffusers' number. */
const DATA_DEVIATION = 0.5;

/**
 * Multistep sampling of latent consistency models: Luo, Tan, Huang, Li and Zhao, "Latent consistency models" (arXiv
 * 2310.04378), algorithm 3, as diffusers' LCMScheduler computes it. Every step predicts the picture and, but for the
 * last, noises it again to the next timestep: 1 to 8 steps, for models and LoRAs distilled to it.
 *
 * Timesteps are taken from the `original_inference_steps` of the distillation, so there are at most as many; as in
 * diffusers, `timestep_spacing`, `steps_offset` and `set_alpha_to_one` have no effect.
 */
export const lcm: SchedulerDefinition = {
  name: 'lcm',
  classNames: ['LCMScheduler'],
  aliases: ['Latent Consistency'],
  source: 'Luo et al. 2023, Latent consistency models, arXiv 2310.04378',
  usesEta: false,
  create: createLcm,
};

function createLcm(config: SchedulerConfig, { steps, sampleLength }: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'LCMScheduler');
  const { trainTimesteps, alphasCumprod } = readNoiseSchedule(reader, {
    schedule: 'scaled_linear',
    start: 0.00085,
    end: 0.012,
  });
  const predictionType = reader.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const threshold = readThreshold(reader, sampleLength);
  const clips = reader.boolean('clip_sample', false);
  const clipRange = reader.number('clip_sample_range', 1, 0, Number.MAX_VALUE);
  const scaling = reader.number('timestep_scaling', 10, 0, Number.MAX_VALUE);
  const originalSteps = reader.integer('original_inference_steps', 50, 1, trainTimesteps);
  const timesteps = distilledTimesteps(steps, originalSteps, trainTimesteps);
  checkNoiseLevels(timesteps, alphasCumprod, predictionType === 'epsilon');
  const last = timesteps.length - 1;

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic: last > 0,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      const alpha = alphasCumprod[timesteps[step]];
      const [signal, deviation] = [Math.sqrt(alpha), Math.sqrt(1 - alpha)];
      // x_0 as a sum of the latents and the model's output.
      let [cleanOfLatents, cleanOfOutput] = [0, 1];
      if (predictionType === 'epsilon') [cleanOfLatents, cleanOfOutput] = [1 / signal, -deviation / signal];
      else if (predictionType === 'v_prediction') [cleanOfLatents, cleanOfOutput] = [signal, -deviation];
      const clean = latents.map((value, i) => cleanOfLatents * value + cleanOfOutput * modelOutput[i]);
      // Thresholding comes before clipping, and instead of it.
      if (threshold) threshold(clean);
      else if (clips) clip(clean, clipRange);

      // The boundary condition, equation 9 with c_skip and c_out of appendix D: f(x, 0) = x.
      const scaled = timesteps[step] * scaling;
      const skip = DATA_DEVIATION ** 2 / (scaled ** 2 + DATA_DEVIATION ** 2);
      const out = scaled / Math.sqrt(scaled ** 2 + DATA_DEVIATION ** 2);
      const denoised = clean.map((value, i) => out * value + skip * latents[i]);
      if (step === last) return denoised;

      checkNoise(noise, latents, 'lcm adds noise after every step but the last');
      // Algorithm 3, line 4: noised again, to the next timestep.
      const nextAlpha = alphasCumprod[timesteps[step + 1]];
      const [nextSignal, nextDeviation] = [Math.sqrt(nextAlpha), Math.sqrt(1 - nextAlpha)];
      return denoised.map((value, i) => nextSignal * value + nextDeviation * noise[i]);
    },
  };
}
