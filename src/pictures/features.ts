import type { Picture } from '../core/picture.ts';

/**
 * A picture as a vector: its mean colours on a grid of `side` by `side`, RGB in [0, 1]. Pictures whose vectors are far
 * apart look different at a glance, which is what the diversity of a distribution is about; no model has to be loaded for it.
 */
export function thumbnailFeatures({ width, height, pixels }: Picture, side = 16): Float32Array {
  const columns = Math.min(side, width);
  const rows = Math.min(side, height);
  const sums = new Float64Array(rows * columns * 3);
  const counts = new Uint32Array(rows * columns);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const cell = Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width);
      counts[cell]++;
      for (let channel = 0; channel < 3; channel++)
        sums[cell * 3 + channel] += pixels[(y * width + x) * 3 + channel];
    }
  }
  return Float32Array.from(sums, (sum, i) => sum / counts[Math.floor(i / 3)] / 255);
}
