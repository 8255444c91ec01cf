import type { Picture } from '../core/picture.ts';

/**
 * Features of a picture: its mean colors on a grid, RGB in [0, 1]. Pictures that look different at
 * a glance have distant features, and no model is needed to compute them. The report's diversity
 * ratio uses them.
 * @param side cells of the grid along each axis, fewer for smaller pictures
 * @returns rows * columns * 3 numbers, row by row
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
