import type { ConfigReader } from './config.ts';
import type { NoiseSchedule } from './noise-schedule.ts';

/** Noise levels in the manner of Karras et al. 2022 (arXiv 2206.00364): sigma = sqrt((1 - a) / a), and how they are spaced. */

/**
 * The noise level of each training timestep, rising. With zero terminal SNR the last one is 4096: infinite noise can't be
 * integrated, and 2^-24 is diffusers' stand-in for a signal of zero.
 */
export function trainingSigmas({ alphasCumprod, rescalesToZeroSnr }: NoiseSchedule): Float32Array {
  const sigmas = alphasCumprod.map((alpha) => Math.sqrt(Math.fround(Math.fround(1 - alpha) / alpha)));
  if (rescalesToZeroSnr) sigmas[sigmas.length - 1] = 4096;
  return sigmas;
}

/** The level at a timestep that may lie between two trained ones. */
export function sigmaAt(timestep: number, trainSigmas: Float32Array): number {
  const low = Math.min(trainSigmas.length - 1, Math.max(0, Math.floor(timestep)));
  const high = Math.min(trainSigmas.length - 1, low + 1);
  return trainSigmas[low] + (trainSigmas[high] - trainSigmas[low]) * (timestep - low);
}

/** The timestep, not rounded, whose noise level is `sigma`, linear in log(sigma) between the trained ones. */
export function timestepAt(sigma: number, trainSigmas: Float32Array): number {
  let low = 0;
  while (low < trainSigmas.length - 2 && trainSigmas[low + 1] <= sigma) low += 1;
  // In float32 as in diffusers: the cosine schedule cuts its result to an integer, where the last bit shows.
  const [from, to] = [Math.fround(Math.log(trainSigmas[low])), Math.fround(Math.log(trainSigmas[low + 1]))];
  const share = (Math.log(sigma) - from) / (to - from);
  return low + Math.min(1, Math.max(0, share));
}

/** Karras et al. 2022, equation 5 with rho = 7: `steps` levels from `largest` down to `smallest`. */
export function karrasSigmas(largest: number, smallest: number, steps: number): number[] {
  const [from, to] = [largest ** (1 / 7), smallest ** (1 / 7)];
  return ramp(steps).map((share) => (from + share * (to - from)) ** 7);
}

/** Levels whose logarithms are evenly spaced. */
export function exponentialSigmas(largest: number, smallest: number, steps: number): number[] {
  const [from, to] = [Math.log(largest), Math.log(smallest)];
  return ramp(steps).map((share) => Math.exp(from + share * (to - from)));
}

/**
 * Which spacing the config asks for besides its timesteps'.
 * @throws Error when it asks for two, or for beta sigmas, which need the inverse of the incomplete beta function
 */
export function readSigmaSpacing(reader: ConfigReader): 'karras' | 'exponential' | null {
  reader.refuse('use_beta_sigmas');
  const karras = reader.boolean('use_karras_sigmas', false);
  const exponential = reader.boolean('use_exponential_sigmas', false);
  if (karras && exponential)
    throw new Error('The scheduler config has use_karras_sigmas and use_exponential_sigmas; it takes one of them.');
  return karras ? 'karras' : exponential ? 'exponential' : null;
}

/** 0 to 1 in `steps` numbers; one step is at 0. */
function ramp(steps: number): number[] {
  return Array.from({ length: steps }, (_, i) => (steps === 1 ? 0 : i / (steps - 1)));
}
