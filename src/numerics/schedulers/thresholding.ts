import type { ConfigReader } from './config.ts';

/** Brings a prediction of x_0 into range, in place. */
export type Threshold = (clean: Float32Array) => void;

/**
 * Dynamic thresholding: Saharia et al. 2022, "Imagen" (arXiv 2205.11487), section 2.3, as diffusers' `_threshold_sample`
 * computes it. In every draw s is the `dynamic_thresholding_ratio` quantile of |x_0|, at least 1 and at most
 * `sample_max_value`; x_0 is cut to [-s, s] and divided by s. For models in pixel space.
 *
 * @param sampleLength numbers of one draw in the arrays; left out: each array is one draw
 * @returns null when the config does not ask for it
 * @throws RangeError, when used, where the array is no whole number of draws
 */
export function readThreshold(config: ConfigReader, sampleLength?: number): Threshold | null {
  if (!config.boolean('thresholding', false)) return null;
  const ratio = config.number('dynamic_thresholding_ratio', 0.995, 0, 1);
  const maximum = config.number('sample_max_value', 1, Number.MIN_VALUE, Number.MAX_VALUE);
  return (clean) => {
    const length = sampleLength ?? clean.length;
    if (!Number.isInteger(length) || length < 1 || clean.length % length !== 0) {
      throw new RangeError(
        `sampleLength is ${length}; it must be an integer >= 1 that divides the latents' ${clean.length}.`,
      );
    }
    for (let start = 0; start < clean.length; start += length) {
      const draw = clean.subarray(start, start + length);
      const limit = Math.min(maximum, Math.max(1, quantile(draw.map(Math.abs), ratio)));
      for (let i = 0; i < length; i++) draw[i] = Math.min(limit, Math.max(-limit, draw[i])) / limit;
    }
  };
}

/** Cuts x_0 to [-range, range], in place: what is done where thresholding is not. */
export function clip(clean: Float32Array, range: number): void {
  for (let i = 0; i < clean.length; i++) clean[i] = Math.min(range, Math.max(-range, clean[i]));
}

/** torch.quantile's: linear between the neighbours, their place computed in float32. Sorts `values`. */
function quantile(values: Float32Array, ratio: number): number {
  values.sort();
  const place = Math.fround(Math.fround(ratio) * (values.length - 1));
  const below = values[Math.floor(place)];
  return below + (place - Math.floor(place)) * (values[Math.ceil(place)] - below);
}
