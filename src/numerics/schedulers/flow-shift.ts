import type { ConfigReader } from './config.ts';

/**
 * Reads mu, the shift of a schedule that depends on the picture's size: linear in the number of
 * image tokens, from `base_shift` at `base_image_seq_len` to `max_shift` at `max_image_seq_len`.
 * This is `calculate_shift` of diffusers' pipelines for Flux and Stable Diffusion 3.
 *
 * @param imageSequenceLength number of tokens of the latents, an integer >= 1
 * @throws RangeError for any other `imageSequenceLength`
 * @throws Error if the two lengths of the config are equal
 */
export function readMu(config: ConfigReader, imageSequenceLength: number | undefined): number {
  if (
    imageSequenceLength === undefined ||
    !Number.isInteger(imageSequenceLength) ||
    imageSequenceLength < 1
  ) {
    throw new RangeError(
      `imageSequenceLength is ${imageSequenceLength ?? 'missing'}; with use_dynamic_shifting it must be an ` +
        'integer >= 1, the number of tokens of the latents.',
    );
  }
  const baseShift = config.number('base_shift', 0.5, -100, 100);
  const maxShift = config.number('max_shift', 1.15, -100, 100);
  const baseLength = config.integer('base_image_seq_len', 256, 1, 1e9);
  const maxLength = config.integer('max_image_seq_len', 4096, 1, 1e9);
  if (baseLength === maxLength) {
    throw new Error(
      `base_image_seq_len and max_image_seq_len of the scheduler config are both ${baseLength}; ` +
        'they must differ.',
    );
  }
  const slope = (maxShift - baseShift) / (maxLength - baseLength);
  return imageSequenceLength * slope + (baseShift - slope * baseLength);
}

/**
 * Reads the shift of `use_dynamic_shifting`: exp(mu), or mu itself with `time_shift_type` linear.
 *
 * @throws Error for a linear mu <= 0, which would leave no noise
 */
export function readDynamicShift(config: ConfigReader, imageSequenceLength: number | undefined): number {
  const mu = readMu(config, imageSequenceLength);
  if (config.choice('time_shift_type', 'exponential', ['exponential', 'linear']) === 'exponential')
    return Math.exp(mu);
  if (mu > 0) return mu;
  throw new Error(
    `time_shift_type is linear and ${imageSequenceLength} image tokens give the shift ${mu}, which is not ` +
      'above 0. Request a larger picture, or set base_shift and max_shift of the scheduler config.',
  );
}

/**
 * Shifts a noise level in [0, 1] towards noise: Esser et al. 2024 (arXiv 2403.03206), equation 23.
 * At the new level a picture with `shift`^2 times the pixels is as noisy as before.
 */
export function shiftSigma(sigma: number, shift: number): number {
  return (shift * sigma) / (1 + (shift - 1) * sigma);
}

/**
 * Stretches falling noise levels about 1 so that the last one becomes `terminal`, as LTX-Video and
 * Qwen-Image need it: diffusers' `stretch_shift_to_terminal`.
 *
 * @param terminal in (0, 1)
 * @throws RangeError if the last level is 1 (a single step), which cannot be moved
 */
export function stretchToTerminal(sigmas: readonly number[], terminal: number): number[] {
  const scale = (1 - sigmas[sigmas.length - 1]) / (1 - terminal);
  if (scale === 0) {
    throw new RangeError(
      `steps is ${sigmas.length}; with shift_terminal it must be at least 2, because a single level is ` +
        'always 1.',
    );
  }
  return sigmas.map((sigma) => 1 - (1 - sigma) / scale);
}

/** Reads `shift_terminal`, in (0, 1); null if it is missing, null or 0. */
export function readTerminal(config: ConfigReader): number | null {
  const terminal = config.number('shift_terminal', 0, 0, 1 - Number.EPSILON);
  return terminal === 0 ? null : terminal;
}
