import type { ConfigReader } from './config.ts';

/**
 * What a config does to the predicted x_0: nothing, clipping to a range (`clip_sample`), or dynamic thresholding
 * (Saharia et al. 2022, arXiv 2205.11487, section 2.3), which is done for each draw by itself. Changes the array.
 * @param sampleLength numbers of one draw
 */
export type Limit = (clean: Float32Array, sampleLength?: number) => void;

/**
 * @param clips whether the class knows `clip_sample`, and whether it does it by default; null: it does not know it
 * @throws Error that names the key
 */
export function readLimit(reader: ConfigReader, clips: boolean | null): Limit {
  if (reader.boolean('thresholding', false)) {
    const ratio = reader.number('dynamic_thresholding_ratio', 0.995, 0, 1);
    const most = reader.number('sample_max_value', 1, 0, Number.MAX_VALUE);
    return (clean, sampleLength = clean.length) => {
      for (let start = 0; start < clean.length; start += sampleLength) {
        threshold(clean.subarray(start, start + sampleLength), ratio, most);
      }
    };
  }
  if (clips === null || !reader.boolean('clip_sample', clips)) return () => {};
  const range = reader.number('clip_sample_range', 1, 0, Number.MAX_VALUE);
  return (clean) => {
    for (let i = 0; i < clean.length; i++) clean[i] = Math.min(range, Math.max(-range, clean[i]));
  };
}

/** Clips to the quantile of the absolute values, between 1 and `most`, and divides by it. */
function threshold(clean: Float32Array, ratio: number, most: number): void {
  const sizes = clean.map(Math.abs).sort();
  const position = ratio * (sizes.length - 1);
  const [low, high] = [sizes[Math.floor(position)], sizes[Math.ceil(position)]];
  const quantile = low + (high - low) * (position - Math.floor(position));
  const bound = Math.min(Math.max(quantile, 1), most);
  for (let i = 0; i < clean.length; i++) clean[i] = Math.min(bound, Math.max(-bound, clean[i])) / bound;
}
