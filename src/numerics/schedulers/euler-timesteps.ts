import type { ConfigReader } from './config.ts';
import type { NoiseSchedule } from './noise-schedule.ts';
import { checkSteps, checkTimesteps, trailingTimesteps } from './timesteps.ts';

const TIMESTEP_SPACINGS = ['linspace', 'leading', 'trailing'] as const;

/**
 * Timesteps of the two Euler schedulers (table 2 of Lin et al. 2023, arXiv 2305.08891): with `linspace` they have fractions, in float32 as
 * in diffusers. `fromLargest` tells whether the first latents are noise of the largest level alone.
 */
export function readEulerTimesteps(
  reader: ConfigReader,
  { trainTimesteps }: NoiseSchedule,
  steps: number,
): { readonly timesteps: number[]; readonly fromLargest: boolean } {
  const spacing = reader.choice('timestep_spacing', 'linspace', TIMESTEP_SPACINGS);
  const offset = reader.integer('steps_offset', 0, 0, trainTimesteps - 1);
  checkSteps(steps, trainTimesteps);
  const timesteps = space(spacing, steps, trainTimesteps, offset);
  checkTimesteps(timesteps, trainTimesteps);
  return { timesteps, fromLargest: spacing !== 'leading' };
}

function space(
  spacing: (typeof TIMESTEP_SPACINGS)[number],
  steps: number,
  trainTimesteps: number,
  offset: number,
): number[] {
  if (spacing === 'trailing') return trailingTimesteps(trainTimesteps, trainTimesteps / steps);
  if (spacing === 'leading') {
    const stride = Math.floor(trainTimesteps / steps);
    return Array.from({ length: steps }, (_, i) => (steps - 1 - i) * stride + offset);
  }
  const stride = steps === 1 ? 0 : (trainTimesteps - 1) / (steps - 1);
  return Array.from({ length: steps }, (_, i) => Math.fround((steps - 1 - i) * stride));
}
