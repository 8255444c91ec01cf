import { float16Values } from './graphs/float16.ts';
import type { Floats } from './graphs/graph.ts';

/**
 * [3, H, W] in [-1, 1] to H * W * 3 bytes, as diffusers' image processor: x / 2 + 0.5, clipped to
 * [0, 1], times 255, rounded.
 */
export function toPixels(planes: Floats): Uint8Array<ArrayBuffer> {
  const pixels = new Uint8Array(planes.length);
  if (planes instanceof Uint16Array) interleaveBits(planes, pixels);
  else interleave(planes, pixels);
  return pixels;
}

function interleave(planes: Float32Array, pixels: Uint8Array): void {
  const plane = planes.length / 3;
  for (let i = 0; i < plane; i++) {
    pixels[3 * i] = toByte(planes[i]);
    pixels[3 * i + 1] = toByte(planes[plane + i]);
    pixels[3 * i + 2] = toByte(planes[2 * plane + i]);
  }
}

function interleaveBits(planes: Uint16Array, pixels: Uint8Array): void {
  byteTable ??= Uint8Array.from(float16Values(), toByte);
  const bytes = byteTable;
  const plane = planes.length / 3;
  for (let i = 0; i < plane; i++) {
    pixels[3 * i] = bytes[planes[i]];
    pixels[3 * i + 1] = bytes[planes[plane + i]];
    pixels[3 * i + 2] = bytes[planes[2 * plane + i]];
  }
}

/** The byte of each bit pattern of float16. */
let byteTable: Uint8Array | undefined;

function toByte(value: number): number {
  const share = value / 2 + 0.5;
  if (share <= 0) return 0;
  // Truncation of a positive number plus a half rounds as `Math.round` does.
  return share >= 1 ? 255 : (share * 255 + 0.5) | 0;
}

/** The first number that is NaN or infinite. */
export function findNotFinite(numbers: Floats): number | undefined {
  if (numbers instanceof Uint16Array) {
    for (let i = 0; i < numbers.length; i++)
      if ((numbers[i] & HALF_EXPONENT) === HALF_EXPONENT) return float16Values()[numbers[i]];
    return undefined;
  }
  // Only of finite numbers is the difference 0.
  for (let i = 0; i < numbers.length; i++) if (numbers[i] - numbers[i] !== 0) return numbers[i];
  return undefined;
}

/** The bits of float16's exponent, all 1 in infinity and NaN. */
const HALF_EXPONENT = 0x7c00;
