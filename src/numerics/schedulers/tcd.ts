import { readConfig } from './config.ts';
import { checkNoiseLevels, readNoiseSchedule } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { checkNoise, refuseNoise } from './step-noise.ts';
import { checkStep, distilledTimesteps } from './timesteps.ts';

const PREDICTION_TYPES = ['epsilon', 'sample', 'v_prediction'] as const;

/**
 * Strategic stochastic sampling of trajectory consistency models: Zheng, Hu, Fan, Wang, Gao, Wang and Xu, "Trajectory
 * consistency distillation" (arXiv 2402.19159), algorithm 4, as diffusers' TCDScheduler computes it. A step goes to the
 * timestep s = (1 - eta) times the next one and is noised again from there; eta is the paper's gamma, 0 (the default of
 * pipelines, deterministic) to 1 (as LCM), 0.3 its authors' choice. The last step adds no noise.
 *
 * Timesteps are taken from the `original_inference_steps` of the distillation, so there are at most as many. As in
 * diffusers, x_0 is neither clipped nor thresholded, whatever the config says, and `timestep_spacing`, `steps_offset`,
 * `set_alpha_to_one` and `timestep_scaling` have no effect.
 */
export const tcd: SchedulerDefinition = {
  name: 'tcd',
  classNames: ['TCDScheduler'],
  aliases: ['Trajectory Consistency'],
  source: 'Zheng et al. 2024, Trajectory consistency distillation, arXiv 2402.19159',
  usesEta: true,
  create: createTcd,
};

function createTcd(config: SchedulerConfig, { steps, eta }: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'TCDScheduler');
  const { trainTimesteps, alphasCumprod } = readNoiseSchedule(reader, {
    schedule: 'scaled_linear',
    start: 0.00085,
    end: 0.012,
  });
  const predictionType = reader.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const originalSteps = reader.integer('original_inference_steps', 50, 1, trainTimesteps);
  if (!(eta >= 0 && eta <= 1)) {
    throw new RangeError(`eta is ${eta}; it must be from 0 (deterministic) to 1 (noised again all the way).`);
  }
  const timesteps = distilledTimesteps(steps, originalSteps, trainTimesteps);
  checkNoiseLevels(timesteps, alphasCumprod, predictionType === 'epsilon');
  const last = timesteps.length - 1;

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic: eta > 0 && last > 0,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      if (eta === 0) refuseNoise(noise, 'eta is 0');
      const next = step < last ? timesteps[step + 1] : 0;
      // In float32 as torch: the floor of a product that is a whole number but for the last bit.
      const between = Math.floor(Math.fround(Math.fround(1 - eta) * next));
      const [alpha, nextAlpha, betweenAlpha] = [timesteps[step], next, between].map((t) => alphasCumprod[t]);
      const [signal, deviation] = [Math.sqrt(alpha), Math.sqrt(1 - alpha)];

      // x_0 and eps as sums of the latents and the model's output.
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
      // x_s = sqrt(a_s) x_0 + sqrt(1 - a_s) eps: algorithm 4's f(x, t, s).
      const [betweenSignal, betweenDeviation] = [Math.sqrt(betweenAlpha), Math.sqrt(1 - betweenAlpha)];
      const ofLatents = betweenSignal * cleanOfLatents + betweenDeviation * noiseOfLatents;
      const ofOutput = betweenSignal * cleanOfOutput + betweenDeviation * noiseOfOutput;
      const moved = latents.map((value, i) => ofLatents * value + ofOutput * modelOutput[i]);
      if (eta === 0 || step === last) return moved;

      checkNoise(noise, latents, `eta is ${eta}`);
      // From s up to the next timestep with fresh noise.
      const ratio = nextAlpha / betweenAlpha;
      const [kept, added] = [Math.sqrt(ratio), Math.sqrt(Math.max(0, 1 - ratio))];
      return moved.map((value, i) => kept * value + added * noise[i]);
    },
  };
}
