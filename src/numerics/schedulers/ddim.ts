import { createScratch } from './arrays.ts';
import { readConfig } from './config.ts';
import { checkNoiseLevels, readNoiseSchedule } from './noise-schedule.ts';
import {
  atAlphaCumprod,
  combine,
  epsilonCoefficients,
  originalSampleCoefficients,
  PREDICTION_TYPES,
} from './prediction.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { checkEta, checkNoise, checkStep, checkSteps, checkTimesteps, rejectNoise } from './step-checks.ts';
import { readSampleRange } from './thresholding.ts';
import { readTimestepSpacing, spaceTimesteps } from './timesteps.ts';

/**
 * DDIM: Song, Meng and Ermon, "Denoising diffusion implicit models" (ICLR 2021, arXiv 2010.02502),
 * equations (12) and (16), as diffusers' DDIMScheduler computes them. With eta = 0 the picture is a
 * function of the initial noise; eta = 1, FIND's setting, adds the noise of DDPM at every step.
 *
 * The defaults are those of diffusers' class, which clips x_0 to [-1, 1]; the config of a latent
 * model sets `clip_sample` to false. With eta = 1, at a timestep without signal, the coefficient of
 * the direction is 0. There diffusers takes the root of a rounding error, which is up to 2e-4 or
 * NaN.
 */
export const ddim: SchedulerDefinition = {
  name: 'ddim',
  classNames: ['DDIMScheduler'],
  aliases: [],
  source: 'Song, Meng and Ermon 2021, Denoising diffusion implicit models, arXiv 2010.02502',
  usesEta: true,
  create: createDdim,
};

function createDdim(
  schedulerConfig: SchedulerConfig,
  { steps, eta, sampleLength }: SchedulerOptions,
): Scheduler {
  const config = readConfig(schedulerConfig, 'DDIMScheduler');
  const { numTrainTimesteps, alphasCumprod } = readNoiseSchedule(config);
  const predictionType = config.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const bringIntoRange = readSampleRange(config, sampleLength, true);
  const finalAlphaCumprod = config.boolean('set_alpha_to_one', true) ? 1 : alphasCumprod[0];
  const spacing = readTimestepSpacing(config, numTrainTimesteps, 'leading');
  checkSteps(steps, numTrainTimesteps);
  checkEta(eta);

  const timesteps = spaceTimesteps(spacing, steps, numTrainTimesteps);
  checkTimesteps(timesteps, numTrainTimesteps);
  checkNoiseLevels(timesteps, alphasCumprod, predictionType === 'epsilon');
  const stride = Math.floor(numTrainTimesteps / steps);
  const stochastic = eta > 0;
  const scratch = createScratch();

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise, into = new Float32Array(latents.length)) {
      checkStep(step, timesteps, modelOutput, latents, into);
      if (stochastic) checkNoise(noise, latents, `eta is ${eta}`);
      else rejectNoise(noise, 'eta is 0');

      // As diffusers: the previous timestep is one stride back, whatever the spacing.
      const timestep = timesteps[step];
      const alphaProdT = alphasCumprod[timestep];
      const alphaProdTPrev = timestep >= stride ? alphasCumprod[timestep - stride] : finalAlphaCumprod;

      // Equation (9), and its forms for the predictions of v and x_0.
      const point = atAlphaCumprod(alphaProdT);
      const predOriginalSample = combine(
        originalSampleCoefficients(predictionType, point),
        latents,
        modelOutput,
        scratch(latents.length),
      );
      bringIntoRange?.(predOriginalSample);

      // Equation (16): sigma_t(eta).
      const variance = ((1 - alphaProdTPrev) / (1 - alphaProdT)) * (1 - alphaProdT / alphaProdTPrev);
      const stdDevT = eta * Math.sqrt(Math.max(0, variance));

      // Equation (12): x_{t-1} = sqrt(a_{t-1}) x_0 + sqrt(1 - a_{t-1} - sigma_t^2) eps + sigma_t
      // noise. As in diffusers, eps follows from the model's output, not from an x_0 that was
      // brought into range.
      const signal = Math.sqrt(alphaProdTPrev);
      const direction = Math.sqrt(Math.max(0, 1 - alphaProdTPrev - stdDevT * stdDevT));
      const [epsilonOfLatents, epsilonOfOutput] = epsilonCoefficients(predictionType, point);
      for (let i = 0; i < into.length; i++) {
        into[i] =
          signal * predOriginalSample[i] +
          direction * (epsilonOfLatents * latents[i] + epsilonOfOutput * modelOutput[i]);
      }
      if (noise !== undefined) for (let i = 0; i < noise.length; i++) into[i] += stdDevT * noise[i];
      return into;
    },
  };
}
