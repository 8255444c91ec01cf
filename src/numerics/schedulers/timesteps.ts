import { roundHalfToEven } from '../rounding.ts';
import type { ConfigReader } from './config.ts';

/** Values of `timestep_spacing`, by the names of table 2 of Lin et al. 2023 (arXiv 2305.08891). */
const TIMESTEP_SPACINGS = ['linspace', 'leading', 'trailing'] as const;

/** How a class of diffusers places its timesteps. */
export interface TimestepSpacing {
  readonly timestepSpacing: (typeof TIMESTEP_SPACINGS)[number];
  /** Added to every timestep of the spacing `leading`; integer >= 0. */
  readonly stepsOffset: number;
}

/** Reads `timestep_spacing` and `steps_offset`. */
export function readTimestepSpacing(
  config: ConfigReader,
  numTrainTimesteps: number,
  defaultSpacing: TimestepSpacing['timestepSpacing'],
): TimestepSpacing {
  return {
    timestepSpacing: config.choice('timestep_spacing', defaultSpacing, TIMESTEP_SPACINGS),
    stepsOffset: config.integer('steps_offset', 0, 0, numTrainTimesteps - 1),
  };
}

/**
 * The timesteps of an inference run, latest first: table 2 of Lin et al. 2023 (arXiv 2305.08891),
 * rounded as diffusers rounds.
 *
 * @param steps number of timesteps, an integer from 1 to `numTrainTimesteps`
 * @param options.end one more than the latest timestep that the model may get; `numTrainTimesteps`
 *   by default
 * @param options.dropsLowest whether to space one timestep more and drop the lowest one, as the
 *   multistep methods of diffusers do
 * @param options.round rounds the timesteps of `linspace`; to integers by default
 * @throws RangeError if `dropsLowest` and the spacing `leading` leave strides of 0
 */
export function spaceTimesteps(
  { timestepSpacing, stepsOffset }: TimestepSpacing,
  steps: number,
  numTrainTimesteps: number,
  options: {
    readonly end?: number;
    readonly dropsLowest?: boolean;
    readonly round?: (timestep: number) => number;
  } = {},
): number[] {
  const { end = numTrainTimesteps, dropsLowest = false, round = roundHalfToEven } = options;
  const dropped = dropsLowest ? 1 : 0;
  switch (timestepSpacing) {
    case 'trailing':
      return spaceTrailing(end, numTrainTimesteps / steps);
    case 'leading': {
      const stride = Math.floor(end / (steps + dropped));
      if (stride === 0) {
        throw new RangeError(
          `steps is ${steps}; with timestep_spacing leading it must be less than ${end}, ` +
            'the number of timesteps to choose from.',
        );
      }
      return Array.from({ length: steps }, (_, i) => (steps - 1 + dropped - i) * stride + stepsOffset);
    }
    case 'linspace':
      return linspace(0, end - 1, steps + dropped)
        .slice(dropped)
        .map(round)
        .reverse();
  }
}

/** From `end` down in strides of `stride`, less one. */
function spaceTrailing(end: number, stride: number): number[] {
  // numpy.arange computes its step in this way, and the rounding of a half depends on it.
  const step = end - stride - end;
  // A stride that is not exact in binary can add a timestep below 0, which diffusers gives to the
  // model.
  return Array.from(
    { length: Math.ceil(end / stride) },
    (_, i) => roundHalfToEven(end + i * step) - 1,
  ).filter((timestep) => timestep >= 0);
}

/**
 * numpy.linspace to the last bit: the rounding of halves depends on the order of its operations.
 * One number is `start`.
 */
export function linspace(start: number, stop: number, count: number): number[] {
  const step = (stop - start) / (count - 1);
  return Array.from({ length: count }, (_, i) =>
    i > 0 && i === count - 1 ? stop : i === 0 ? start : i * step + start,
  );
}
