import type { ConfigReader } from './config.ts';

/**
 * mu, by which a schedule is shifted that depends on the picture's size: linear in the number of image tokens, from
 * `base_shift` at `base_image_seq_len` to `max_shift` at `max_image_seq_len`, as `calculate_shift` of diffusers'
 * pipelines for Flux and Stable Diffusion 3.
 *
 * @param imageSequenceLength tokens that the model cuts the latents into, an integer >= 1
 * @throws Error when it is missing, or the config's two lengths are equal
 */
export function readMu(reader: ConfigReader, imageSequenceLength: number | undefined): number {
  if (
    imageSequenceLength === undefined ||
    !Number.isInteger(imageSequenceLength) ||
    imageSequenceLength < 1
  ) {
    throw new RangeError(
      `imageSequenceLength is ${imageSequenceLength ?? 'missing'}; with use_dynamic_shifting it must be an integer ` +
        '>= 1, the tokens that the model cuts the latents into.',
    );
  }
  const baseShift = reader.number('base_shift', 0.5, -100, 100);
  const maxShift = reader.number('max_shift', 1.15, -100, 100);
  const baseLength = reader.integer('base_image_seq_len', 256, 1, 1e9);
  const maxLength = reader.integer('max_image_seq_len', 4096, 1, 1e9);
  if (baseLength === maxLength) {
    throw new Error(
      `base_image_seq_len and max_image_seq_len of the scheduler config are both ${baseLength}; they must differ.`,
    );
  }
  const slope = (maxShift - baseShift) / (maxLength - baseLength);
  return imageSequenceLength * slope + (baseShift - slope * baseLength);
}

/**
 * The shift that follows from mu: exp(mu), or mu itself with `time_shift_type` linear.
 *
 * @throws Error for a linear mu that is not above 0, which would leave no noise or less
 */
export function readDynamicShift(reader: ConfigReader, imageSequenceLength: number | undefined): number {
  const mu = readMu(reader, imageSequenceLength);
  if (reader.choice('time_shift_type', 'exponential', ['exponential', 'linear']) === 'exponential')
    return Math.exp(mu);
  if (mu > 0) return mu;
  throw new Error(
    `time_shift_type is linear and ${imageSequenceLength} image tokens shift by ${mu}, which is not above 0. ` +
      'Ask for a larger picture, or set base_shift and max_shift of the scheduler config.',
  );
}

/** Esser et al. 2024 (arXiv 2403.03206), equation 23: the level at which a picture `shift`^2 times as large is as noisy. */
export function shiftLevel(level: number, shift: number): number {
  return (shift * level) / (1 + (shift - 1) * level);
}

/**
 * Stretches falling levels about 1 so that the last is `terminal`, as LTX-Video and Qwen-Image want it.
 *
 * @param terminal in (0, 1)
 * @throws RangeError where the last level is 1 (one step): nothing can be stretched
 */
export function stretchToTerminal(levels: readonly number[], terminal: number): number[] {
  const scale = (1 - levels[levels.length - 1]) / (1 - terminal);
  if (scale === 0) {
    throw new RangeError(
      `steps is ${levels.length}; with shift_terminal it must be at least 2: a single level of 1 cannot end elsewhere.`,
    );
  }
  return levels.map((level) => 1 - (1 - level) / scale);
}

/** `shift_terminal` of the config, in (0, 1), or null when it is missing, null or 0. */
export function readTerminal(reader: ConfigReader): number | null {
  const terminal = reader.number('shift_terminal', 0, 0, 1 - Number.EPSILON);
  return terminal === 0 ? null : terminal;
}
