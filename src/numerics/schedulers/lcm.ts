import { readConfig } from './config.ts';
import { readConsistencyTimesteps } from './consistency-timesteps.ts';
import { LATENT_DIFFUSION, readNoiseSchedule } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { readLimit } from './threshold.ts';
import { checkNoise, checkStep } from './timesteps.ts';

const PREDICTION_TYPES = ['epsilon', 'sample', 'v_prediction'] as const;
/** Standard deviation of the data in the boundary condition; Song et al. 2023 and Luo et al. 2023 take 0.5. */
const SIGMA_DATA = 0.5;

/**
 * Multistep consistency sampling: Luo et al., "Latent consistency models" (arXiv 2310.04378), algorithm 3, as diffusers'
 * LCMScheduler computes it: each evaluation gives a whole picture, which is noised again for the next one. 1 to 8 steps.
 */
export const lcm: SchedulerDefinition = {
  name: 'lcm',
  classNames: ['LCMScheduler'],
  aliases: ['LCM'],
  source: 'Luo et al. 2023, Latent consistency models, arXiv 2310.04378',
  usesEta: false,
  create: createLcm,
};

function createLcm(config: SchedulerConfig, { steps, sampleLength }: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'LCMScheduler');
  const { trainTimesteps, alphasCumprod } = readNoiseSchedule(reader, LATENT_DIFFUSION);
  const predictionType = reader.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const limit = readLimit(reader, false);
  const timestepScaling = reader.number('timestep_scaling', 10, 0, Number.MAX_VALUE);
  const timesteps = readConsistencyTimesteps(reader, trainTimesteps, steps);
  if (predictionType === 'epsilon' && alphasCumprod[timesteps[0]] === 0) {
    throw new Error(
      `prediction_type is epsilon, which says nothing about the picture at timestep ${timesteps[0]}: ` +
        'rescale_betas_zero_snr makes it pure noise. Such models predict v_prediction or sample.',
    );
  }

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic: steps > 1,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      checkNoise(noise, latents.length, steps > 1, `lcm with ${steps} steps`);
      const { [step]: timestep } = timesteps;
      const alpha = alphasCumprod[timestep];
      const [signal, deviation] = [Math.sqrt(alpha), Math.sqrt(1 - alpha)];
      let [cleanOfLatents, cleanOfOutput] = [0, 1];
      if (predictionType === 'epsilon') [cleanOfLatents, cleanOfOutput] = [1 / signal, -deviation / signal];
      else if (predictionType === 'v_prediction') [cleanOfLatents, cleanOfOutput] = [signal, -deviation];
      const clean = latents.map((value, i) => cleanOfLatents * value + cleanOfOutput * modelOutput[i]);
      limit(clean, sampleLength);

      // The boundary condition (section 2): f = c_skip(t) x_t + c_out(t) x_0.
      const scaled = timestep * timestepScaling;
      const skip = SIGMA_DATA ** 2 / (scaled ** 2 + SIGMA_DATA ** 2);
      const out = scaled / Math.sqrt(scaled ** 2 + SIGMA_DATA ** 2);
      const denoised = clean.map((value, i) => out * value + skip * latents[i]);
      if (step === steps - 1) return denoised;
      const next = alphasCumprod[timesteps[step + 1]];
      const [ofClean, ofNoise] = [Math.sqrt(next), Math.sqrt(1 - next)];
      return denoised.map((value, i) => ofClean * value + ofNoise * (noise as Float32Array)[i]);
    },
  };
}
