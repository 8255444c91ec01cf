import { readConfig } from './config.ts';
import { readDistillation } from './distillation.ts';
import {
  atAlphaCumprod,
  type Coefficients,
  combine,
  epsilonCoefficients,
  originalSampleCoefficients,
} from './prediction.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { checkEta, checkNoise, checkStep, rejectNoise } from './step-checks.ts';

/**
 * Strategic stochastic sampling of trajectory consistency models: Zheng, Hu, Fan, Wang, Gao, Wang
 * and Xu, "Trajectory consistency distillation" (arXiv 2402.19159), algorithm 4, as diffusers'
 * TCDScheduler computes it. A step goes to the timestep s = (1 - eta) t', where t' is the next
 * timestep, and adds noise from s up to t'. eta is the paper's gamma: 0 is deterministic (the
 * default of diffusers' pipelines), 1 is as in LCM, and the authors use 0.3. The last step adds no
 * noise.
 *
 * `original_inference_steps` limits the number of steps (`distillation.ts`). As in diffusers, x_0
 * is neither clipped nor thresholded, and `timestep_scaling` has no effect.
 */
export const tcd: SchedulerDefinition = {
  name: 'tcd',
  classNames: ['TCDScheduler'],
  aliases: ['Trajectory Consistency'],
  source: 'Zheng et al. 2024, Trajectory consistency distillation, arXiv 2402.19159',
  usesEta: true,
  create: createTcd,
};

function createTcd(schedulerConfig: SchedulerConfig, { steps, eta }: SchedulerOptions): Scheduler {
  const config = readConfig(schedulerConfig, 'TCDScheduler');
  checkEta(eta);
  const { predictionType, alphasCumprod, timesteps } = readDistillation(config, steps);
  const lastStep = timesteps.length - 1;

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic: eta > 0 && lastStep > 0,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise, into = new Float32Array(latents.length)) {
      checkStep(step, timesteps, modelOutput, latents, into);
      if (eta === 0) rejectNoise(noise, 'eta is 0');
      const prevTimestep = step < lastStep ? timesteps[step + 1] : 0;
      // In float32 as torch, because the last bit of the product can decide its floor.
      const timestepS = Math.floor(Math.fround(Math.fround(1 - eta) * prevTimestep));
      const [alphaProdT, alphaProdTPrev, alphaProdS] = [timesteps[step], prevTimestep, timestepS].map(
        (timestep) => alphasCumprod[timestep],
      );

      // Algorithm 4, f(x, t, s): x_s = sqrt(a_s) x_0 + sqrt(1 - a_s) eps.
      const point = atAlphaCumprod(alphaProdT);
      const pointS = atAlphaCumprod(alphaProdS);
      const originalSample = originalSampleCoefficients(predictionType, point);
      const epsilon = epsilonCoefficients(predictionType, point);
      const coefficients: Coefficients = [
        pointS.alpha * originalSample[0] + pointS.sigma * epsilon[0],
        pointS.alpha * originalSample[1] + pointS.sigma * epsilon[1],
      ];
      const predNoisedSample = combine(coefficients, latents, modelOutput, into);
      if (eta === 0 || step === lastStep) return predNoisedSample;

      // From s up to the next timestep with new noise.
      checkNoise(noise, latents, `eta is ${eta}`);
      const ratio = alphaProdTPrev / alphaProdS;
      const [signal, deviation] = [Math.sqrt(ratio), Math.sqrt(Math.max(0, 1 - ratio))];
      return combine([signal, deviation], predNoisedSample, noise, into);
    },
  };
}
