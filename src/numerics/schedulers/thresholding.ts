import type { ConfigReader } from './config.ts';

/** Brings a prediction of x_0 into range, in place. */
export type Threshold = (predOriginalSample: Float32Array) => void;

/**
 * Reads dynamic thresholding: Saharia et al. 2022, "Imagen" (arXiv 2205.11487), section 2.3, as
 * diffusers' `_threshold_sample` computes it. For every sample of a batch, s is the
 * `dynamic_thresholding_ratio` quantile of |x_0|, at least 1 and at most `sample_max_value`; x_0 is
 * clipped to [-s, s] and divided by s. It is for models in pixel space.
 *
 * @param sampleLength numbers of one sample of a batch; without it, an array is one sample
 * @returns null if the config does not set `thresholding`; the function throws a RangeError if the
 *   length of an array is not a multiple of `sampleLength`
 */
export function readThreshold(config: ConfigReader, sampleLength?: number): Threshold | null {
  if (!config.boolean('thresholding', false)) return null;
  const ratio = config.number('dynamic_thresholding_ratio', 0.995, 0, 1);
  const maximum = config.number('sample_max_value', 1, Number.MIN_VALUE, Number.MAX_VALUE);
  return (predOriginalSample) => {
    const length = sampleLength ?? predOriginalSample.length;
    if (!Number.isInteger(length) || length < 1 || predOriginalSample.length % length !== 0) {
      throw new RangeError(
        `sampleLength is ${length}; it must be an integer >= 1 that divides the latents' ` +
          `${predOriginalSample.length} numbers.`,
      );
    }
    for (let start = 0; start < predOriginalSample.length; start += length) {
      const sample = predOriginalSample.subarray(start, start + length);
      const limit = Math.min(maximum, Math.max(1, quantile(sample.map(Math.abs), ratio)));
      for (let i = 0; i < length; i++) sample[i] = Math.min(limit, Math.max(-limit, sample[i])) / limit;
    }
  };
}

/**
 * Reads how a class brings x_0 into range: dynamic thresholding, else clipping to
 * +-`clip_sample_range`, else not at all.
 *
 * @param clipSampleDefault the default of the class for `clip_sample`
 * @returns null if the config asks for neither
 */
export function readSampleRange(
  config: ConfigReader,
  sampleLength: number | undefined,
  clipSampleDefault: boolean,
): Threshold | null {
  const threshold = readThreshold(config, sampleLength);
  const clipSample = config.boolean('clip_sample', clipSampleDefault);
  const clipSampleRange = config.number('clip_sample_range', 1, 0, Number.MAX_VALUE);
  return threshold ?? (clipSample ? (values) => clip(values, clipSampleRange) : null);
}

function clip(values: Float32Array, range: number): void {
  for (let i = 0; i < values.length; i++) values[i] = Math.min(range, Math.max(-range, values[i]));
}

/**
 * torch.quantile: linear between neighbours, at a position that is computed in float32. Sorts
 * `values`.
 */
function quantile(values: Float32Array, ratio: number): number {
  values.sort();
  const position = Math.fround(Math.fround(ratio) * (values.length - 1));
  const below = values[Math.floor(position)];
  return below + (position - Math.floor(position)) * (values[Math.ceil(position)] - below);
}
