import { readConfig } from './config.ts';
import { readNoiseSchedule, trainedSigmas } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { checkSigmas, sigmaAt } from './sigmas.ts';
import { checkNoise, checkStep, checkSteps, checkTimesteps } from './step-checks.ts';
import { readTimestepSpacing, spaceTimesteps } from './timesteps.ts';

const { fround } = Math;
const PREDICTION_TYPES = ['epsilon', 'v_prediction'] as const;

/**
 * Euler's method with ancestral sampling: Crowson, k-diffusion (github.com/crowsonkb/k-diffusion),
 * `sample_euler_ancestral`, as diffusers' EulerAncestralDiscreteScheduler computes it. A step of
 * Euler's method goes below the next noise level (`sigmaDown`), and new noise (`sigmaUp`) raises it
 * to that level. In the latents x = x_0 + sigma eps, this noise is DDPM's (Ho, Jain and Abbeel
 * 2020, arXiv 2006.11239). The noise of the last step has the weight 0.
 *
 * All options of diffusers' class are supported. The class has neither predictions of x_0 nor
 * Karras' levels.
 */
export const eulerAncestral: SchedulerDefinition = {
  name: 'euler-ancestral',
  classNames: ['EulerAncestralDiscreteScheduler'],
  aliases: ['Euler a', 'Euler Ancestral Discrete', 'k_euler_a', 'k_euler_ancestral'],
  source: 'Crowson 2022, k-diffusion; Ho, Jain and Abbeel 2020, arXiv 2006.11239',
  usesEta: false,
  create: createEulerAncestral,
};

function createEulerAncestral(schedulerConfig: SchedulerConfig, { steps }: SchedulerOptions): Scheduler {
  const config = readConfig(schedulerConfig, 'EulerAncestralDiscreteScheduler');
  const schedule = readNoiseSchedule(config);
  const { numTrainTimesteps } = schedule;
  const predictionType = config.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const spacing = readTimestepSpacing(config, numTrainTimesteps, 'linspace');
  checkSteps(steps, numTrainTimesteps);
  const timesteps = spaceTimesteps(spacing, steps, numTrainTimesteps, { round: fround });
  checkTimesteps(timesteps, numTrainTimesteps);

  const trained = trainedSigmas(schedule);
  const sigmas = Float32Array.of(...timesteps.map((timestep) => sigmaAt(timestep, trained)), 0);
  checkSigmas(sigmas, false);
  const maxSigma = sigmas[0];

  return {
    timesteps,
    initNoiseSigma: spacing.timestepSpacing === 'leading' ? Math.sqrt(maxSigma * maxSigma + 1) : maxSigma,
    stochastic: true,
    scaleModelInput(latents, step, into = new Float32Array(latents.length)) {
      const scale = fround(Math.sqrt(fround(sigmas[step] ** 2) + 1));
      for (let i = 0; i < into.length; i++) into[i] = latents[i] / scale;
      return into;
    },
    step(modelOutput, step, latents, noise, into = new Float32Array(latents.length)) {
      checkStep(step, timesteps, modelOutput, latents, into);
      checkNoise(noise, latents, 'euler-ancestral adds noise at every step');
      const [sigmaFrom, sigmaTo] = [sigmas[step], sigmas[step + 1]];
      // Every operation is rounded to float32, as in torch: sigmaDown^2 is a small difference of
      // large numbers, and so is x - x_0 at the noise level 4096 of a zero terminal SNR.
      const [fromSquared, toSquared] = [fround(sigmaFrom * sigmaFrom), fround(sigmaTo * sigmaTo)];
      const sigmaUp = fround(
        Math.sqrt(fround(fround(toSquared * fround(fromSquared - toSquared)) / fromSquared)),
      );
      const sigmaDown = fround(Math.sqrt(Math.max(0, fround(toSquared - fround(sigmaUp * sigmaUp)))));
      const dt = fround(sigmaDown - sigmaFrom);
      // As in `euler.ts`: x_0 = v * cOut + x / cSkipInverse.
      const cSkipInverse = fround(fromSquared + 1);
      const cOut = fround(-sigmaFrom / fround(Math.sqrt(cSkipInverse)));
      // `into` holds x_0 until the next latents replace it.
      if (predictionType === 'epsilon')
        for (let i = 0; i < into.length; i++) into[i] = latents[i] - fround(sigmaFrom * modelOutput[i]);
      else
        for (let i = 0; i < into.length; i++)
          into[i] = fround(modelOutput[i] * cOut) + fround(latents[i] / cSkipInverse);
      for (let i = 0; i < into.length; i++) {
        const derivative = fround(fround(latents[i] - into[i]) / sigmaFrom);
        into[i] = fround(latents[i] + fround(derivative * dt)) + fround(noise[i] * sigmaUp);
      }
      return into;
    },
  };
}
