import { createScratch } from './arrays.ts';
import { readConfig } from './config.ts';
import { readDistillation } from './distillation.ts';
import { atAlphaCumprod, combine, originalSampleCoefficients } from './prediction.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { checkNoise, checkStep } from './step-checks.ts';
import { readSampleRange } from './thresholding.ts';

/** Standard deviation of the data in the boundary condition; diffusers' number. */
const SIGMA_DATA = 0.5;

/**
 * Multistep sampling of latent consistency models: Luo, Tan, Huang, Li and Zhao, "Latent
 * consistency models" (arXiv 2310.04378), algorithm 3, as diffusers' LCMScheduler computes it.
 * Every step predicts the picture; every step except the last then adds noise up to the next
 * timestep. It takes 1 to 8 steps with models and LoRAs that are distilled for it.
 *
 * `original_inference_steps` limits the number of steps (`distillation.ts`).
 */
export const lcm: SchedulerDefinition = {
  name: 'lcm',
  classNames: ['LCMScheduler'],
  aliases: ['Latent Consistency'],
  source: 'Luo et al. 2023, Latent consistency models, arXiv 2310.04378',
  usesEta: false,
  create: createLcm,
};

function createLcm(schedulerConfig: SchedulerConfig, { steps, sampleLength }: SchedulerOptions): Scheduler {
  const config = readConfig(schedulerConfig, 'LCMScheduler');
  const { predictionType, alphasCumprod, timesteps } = readDistillation(config, steps);
  const bringIntoRange = readSampleRange(config, sampleLength, false);
  const timestepScaling = config.number('timestep_scaling', 10, 0, Number.MAX_VALUE);
  const lastStep = timesteps.length - 1;
  const scratch = createScratch();

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic: lastStep > 0,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise, into = new Float32Array(latents.length)) {
      checkStep(step, timesteps, modelOutput, latents, into);
      const timestep = timesteps[step];
      const point = atAlphaCumprod(alphasCumprod[timestep]);
      const predOriginalSample = combine(
        originalSampleCoefficients(predictionType, point),
        latents,
        modelOutput,
        scratch(latents.length),
      );
      bringIntoRange?.(predOriginalSample);

      // Equation (9) with c_skip and c_out of appendix D: the boundary condition f(x, 0) = x.
      const scaledTimestep = timestep * timestepScaling;
      const cSkip = SIGMA_DATA ** 2 / (scaledTimestep ** 2 + SIGMA_DATA ** 2);
      const cOut = scaledTimestep / Math.sqrt(scaledTimestep ** 2 + SIGMA_DATA ** 2);
      const denoised = combine([cSkip, cOut], latents, predOriginalSample, into);
      if (step === lastStep) return denoised;

      // Algorithm 3, line 4: add noise up to the next timestep.
      checkNoise(noise, latents, 'lcm adds noise after every step but the last');
      const next = atAlphaCumprod(alphasCumprod[timesteps[step + 1]]);
      return combine([next.alpha, next.sigma], denoised, noise, into);
    },
  };
}
