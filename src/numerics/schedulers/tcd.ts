import { readConfig } from './config.ts';
import { readConsistencyTimesteps } from './consistency-timesteps.ts';
import { LATENT_DIFFUSION, readNoiseSchedule } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { checkNoise, checkStep } from './timesteps.ts';

const PREDICTION_TYPES = ['epsilon', 'sample', 'v_prediction'] as const;

/**
 * Strategic stochastic sampling: Zheng et al., "Trajectory consistency distillation" (arXiv 2402.19159), algorithm 4, as diffusers'
 * TCDScheduler computes it. `eta` is the paper's gamma: 0 is deterministic, 1 goes to the data and back at every step; the authors
 * advise 0.3.
 */
export const tcd: SchedulerDefinition = {
  name: 'tcd',
  classNames: ['TCDScheduler'],
  aliases: ['TCD'],
  source: 'Zheng et al. 2024, Trajectory consistency distillation, arXiv 2402.19159',
  usesEta: true,
  create: createTcd,
};

function createTcd(config: SchedulerConfig, { steps, eta }: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'TCDScheduler');
  const { trainTimesteps, alphasCumprod } = readNoiseSchedule(reader, LATENT_DIFFUSION);
  const predictionType = reader.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const timesteps = readConsistencyTimesteps(reader, trainTimesteps, steps);
  if (!(eta >= 0 && eta <= 1)) throw new RangeError(`eta is ${eta}; it must be from 0 (deterministic) to 1.`);
  if (predictionType === 'epsilon' && alphasCumprod[timesteps[0]] === 0) {
    throw new Error(
      `prediction_type is epsilon, which says nothing about the picture at timestep ${timesteps[0]}: ` +
        'rescale_betas_zero_snr makes it pure noise. Such models predict v_prediction or sample.',
    );
  }
  const stochastic = eta > 0 && steps > 1;

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      checkNoise(noise, latents.length, stochastic, `tcd with eta ${eta} and ${steps} steps`);
      const alpha = alphasCumprod[timesteps[step]];
      const previous = step + 1 < steps ? timesteps[step + 1] : 0;
      // s = (1 - gamma) t', between the next timestep and the data; in float32 as in diffusers, for it is cut.
      const target = alphasCumprod[Math.floor(Math.fround((1 - eta) * previous))];
      const [signal, deviation] = [Math.sqrt(alpha), Math.sqrt(1 - alpha)];
      let [cleanOfLatents, cleanOfOutput, noiseOfLatents, noiseOfOutput] = [0, 1, 1 / deviation, -signal / deviation];
      if (predictionType === 'epsilon') {
        [cleanOfLatents, cleanOfOutput, noiseOfLatents, noiseOfOutput] = [1 / signal, -deviation / signal, 0, 1];
      } else if (predictionType === 'v_prediction') {
        [cleanOfLatents, cleanOfOutput, noiseOfLatents, noiseOfOutput] = [signal, -deviation, deviation, signal];
      }
      const [ofClean, ofEpsilon] = [Math.sqrt(target), Math.sqrt(1 - target)];
      const ofLatents = ofClean * cleanOfLatents + ofEpsilon * noiseOfLatents;
      const ofOutput = ofClean * cleanOfOutput + ofEpsilon * noiseOfOutput;
      const moved = latents.map((value, i) => ofLatents * value + ofOutput * modelOutput[i]);
      if (!noise || step === steps - 1) return moved;
      const ratio = alphasCumprod[previous] / target;
      const [ofMoved, ofNoise] = [Math.sqrt(ratio), Math.sqrt(1 - ratio)];
      return moved.map((value, i) => ofMoved * value + ofNoise * noise[i]);
    },
  };
}
