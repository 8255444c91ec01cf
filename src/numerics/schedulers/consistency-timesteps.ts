import type { ConfigReader } from './config.ts';
import { checkSteps } from './timesteps.ts';

/**
 * Timesteps of models that were distilled along `original_inference_steps` evenly spaced ones (LCM, TCD): `steps` of those, spread evenly,
 * falling (Luo et al. 2023, arXiv 2310.04378, section 4.3, as diffusers' schedulers space them).
 */
export function readConsistencyTimesteps(reader: ConfigReader, trainTimesteps: number, steps: number): number[] {
  const original = reader.integer('original_inference_steps', 50, 1, trainTimesteps);
  checkSteps(steps, trainTimesteps);
  if (steps > original) {
    throw new RangeError(
      `steps is ${steps}; it must be an integer from 1 to ${original}, the original_inference_steps that this model was distilled along.`,
    );
  }
  const stride = Math.floor(trainTimesteps / original);
  return Array.from({ length: steps }, (_, i) => (original - Math.floor(i * (original / steps))) * stride - 1);
}
