import type { Picture } from '../../src/core/picture.ts';
import { standardNormal } from '../../src/numerics/normal.ts';

/** A picture of noise, without repetitions. */
export function noisePicture(width: number, height: number): Picture {
  const noise = standardNormal({ seed: 1, stream: 0, index: 0 }, width * height * 3);
  return {
    width,
    height,
    pixels: Uint8Array.from(noise, (value) => Math.min(255, Math.max(0, 128 + 60 * value))),
  };
}

/** A picture with the color `colorAt(x, y)` at each pixel. */
export function pictureOf(
  width: number,
  height: number,
  colorAt: (x: number, y: number) => readonly number[],
): Picture {
  const pixels = Array.from({ length: width * height }, (_, i) =>
    colorAt(i % width, Math.floor(i / width)),
  ).flat();
  return { width, height, pixels: Uint8Array.from(pixels) };
}
