import type { ConfigReader } from './config.ts';
import { checkNoiseLevels, readNoiseSchedule } from './noise-schedule.ts';
import { PREDICTION_TYPES, type PredictionType } from './prediction.ts';

/** The settings that the samplers of consistency models (LCM, TCD) have in common. */
export interface Distillation {
  readonly predictionType: PredictionType;
  /** One number per trained timestep. */
  readonly alphasCumprod: Float32Array;
  /** Latest first. */
  readonly timesteps: readonly number[];
}

/**
 * Reads the settings of a consistency model. Its timesteps are `steps` of the
 * `original_inference_steps` that the model was distilled with, evenly spaced by their index. As in
 * diffusers, `timestep_spacing`, `steps_offset` and `set_alpha_to_one` have no effect.
 *
 * @throws RangeError unless `steps` is an integer from 1 to `original_inference_steps`
 * @throws Error for values out of range, and for a timestep from which no step is possible
 */
export function readDistillation(config: ConfigReader, steps: number): Distillation {
  // The defaults of both classes are the noise schedule of Latent Diffusion.
  const { numTrainTimesteps, alphasCumprod } = readNoiseSchedule(config, {
    betaSchedule: 'scaled_linear',
    betaStart: 0.00085,
    betaEnd: 0.012,
  });
  const predictionType = config.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const originalSteps = config.integer('original_inference_steps', 50, 1, numTrainTimesteps);
  if (!Number.isInteger(steps) || steps < 1 || steps > originalSteps) {
    throw new RangeError(
      `steps is ${steps}; it must be an integer from 1 to ${originalSteps}, the number of steps that the ` +
        'model was distilled with (original_inference_steps).',
    );
  }
  const stride = Math.floor(numTrainTimesteps / originalSteps);
  const ratio = originalSteps / steps;
  const timesteps = Array.from(
    { length: steps },
    (_, i) => (originalSteps - Math.floor(i * ratio)) * stride - 1,
  );
  checkNoiseLevels(timesteps, alphasCumprod, predictionType === 'epsilon');
  return { predictionType, alphasCumprod, timesteps };
}
