import type { Picture } from '../core/picture.ts';

/** Pillow's filter weights are fixed-point integers with this many bits behind the point. */
const FIXED_POINT_BITS = 22;
const ONE = 2 ** FIXED_POINT_BITS;
/** Where sums of bytes times weights start, so that they are rounded when bits are cut off. */
const HALF = ONE / 2;

/** Pillow's filters: half of their width in source pixels, and their weight at a distance. */
const FILTERS = {
  lanczos: { support: 3, weight: (x: number) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
  bilinear: { support: 1, weight: (x: number) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: cubic },
};

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Names of Pillow's filters. */
export type Filter = keyof typeof FILTERS | 'nearest';

/** Cubic convolution with a = -0.5 (Keys 1981), as in Pillow's BICUBIC. */
function cubic(x: number): number {
  const a = -0.5;
  const t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}

/**
 * Resamples a picture to the bytes of Pillow 13's `Image.resize` (libImaging/Resample.c):
 * antialiased if it shrinks, one axis after the other, each rounded to bytes. Rewards were trained
 * on such pixels, and those of browsers and sharp differ.
 */
export function resample(picture: Picture, width: number, height: number, filter: Filter): Picture {
  if (filter === 'nearest') return takeNearest(picture, width, height);
  // Pillow starts with the vertical pass if it removes much more. The order changes the bytes.
  const [fewerRows, fewerColumns] = [picture.height - height, picture.width - width];
  return fewerRows > 0 && fewerRows > 2 * fewerColumns
    ? resampleRows(resampleColumns(picture, height, filter), width, filter)
    : resampleColumns(resampleRows(picture, width, filter), height, filter);
}

/** `Image.resize` with NEAREST (libImaging/Geometry.c, ImagingScaleAffine). */
function takeNearest(picture: Picture, width: number, height: number): Picture {
  const columns = positions(picture.width, width);
  const rows = positions(picture.height, height);
  const pixels = new Uint8Array(width * height * 3);
  for (const [y, row] of rows.entries()) {
    for (const [x, column] of columns.entries()) {
      const from = (row * picture.width + column) * 3;
      pixels.set(picture.pixels.subarray(from, from + 3), (y * width + x) * 3);
    }
  }
  return { width, height, pixels };
}

/** The source position of each pixel along an axis. Summed up as in Pillow, to round as it does. */
function positions(length: number, newLength: number): number[] {
  const step = length / newLength;
  let at = step * 0.5;
  return Array.from({ length: newLength }, () => {
    const position = Math.min(Math.trunc(at), length - 1);
    at += step;
    return position;
  });
}

/** The weights of an axis: which source pixels make each new pixel, and by how much. */
interface Kernel {
  /** The first source pixel of each new one. */
  readonly first: Int32Array;
  /** The number of source pixels of each new one, at most `width`. */
  readonly counts: Int32Array;
  /** Fixed-point weights: `width` places for each new pixel. */
  readonly weights: Int32Array;
  readonly width: number;
}

function createKernel(length: number, newLength: number, filter: keyof typeof FILTERS): Kernel {
  const { support, weight } = FILTERS[filter];
  const scale = length / newLength;
  const filterScale = Math.max(1, scale);
  const reach = support * filterScale;
  const width = Math.ceil(reach) * 2 + 1;
  const first = new Int32Array(newLength);
  const counts = new Int32Array(newLength);
  const weights = new Int32Array(newLength * width);
  for (let x = 0; x < newLength; x++) {
    const center = (x + 0.5) * scale;
    first[x] = Math.max(0, Math.trunc(center - reach + 0.5));
    counts[x] = Math.min(length, Math.trunc(center + reach + 0.5)) - first[x];
    const exact = Array.from({ length: counts[x] }, (_, i) =>
      weight((first[x] + i - center + 0.5) / filterScale),
    );
    const sum = exact.reduce((total, value) => total + value, 0);
    for (const [i, value] of exact.entries())
      weights[x * width + i] = Math.trunc((value / sum) * ONE + (value < 0 ? -0.5 : 0.5));
  }
  return { first, counts, weights, width };
}

// The sums of bytes times weights fit into 32 bits, as in Pillow.

/** Resamples each row to `newWidth` pixels. */
function resampleRows(picture: Picture, newWidth: number, filter: keyof typeof FILTERS): Picture {
  const { width, height, pixels } = picture;
  if (width === newWidth) return picture;
  const { first, counts, weights, width: places } = createKernel(width, newWidth, filter);
  const result = new Uint8Array(newWidth * height * 3);
  let to = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < newWidth; x++) {
      const end = x * places + counts[x];
      let from = (y * width + first[x]) * 3;
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      for (let i = x * places; i < end; i++) {
        red = (red + Math.imul(weights[i], pixels[from])) | 0;
        green = (green + Math.imul(weights[i], pixels[from + 1])) | 0;
        blue = (blue + Math.imul(weights[i], pixels[from + 2])) | 0;
        from += 3;
      }
      result[to] = toByte(red);
      result[to + 1] = toByte(green);
      result[to + 2] = toByte(blue);
      to += 3;
    }
  }
  return { width: newWidth, height, pixels: result };
}

/** Resamples each column to `newHeight` pixels. */
function resampleColumns(picture: Picture, newHeight: number, filter: keyof typeof FILTERS): Picture {
  const { width, height, pixels } = picture;
  if (height === newHeight) return picture;
  const { first, counts, weights, width: places } = createKernel(height, newHeight, filter);
  const length = width * 3;
  const result = new Uint8Array(newHeight * length);
  let to = 0;
  for (let y = 0; y < newHeight; y++) {
    const end = y * places + counts[y];
    for (let x = 0; x < length; x++) {
      let from = first[y] * length + x;
      let sum = HALF;
      for (let i = y * places; i < end; i++) {
        sum = (sum + Math.imul(weights[i], pixels[from])) | 0;
        from += length;
      }
      result[to] = toByte(sum);
      to++;
    }
  }
  return { width, height: newHeight, pixels: result };
}

/** A fixed-point sum to a byte. */
function toByte(sum: number): number {
  const value = sum >> FIXED_POINT_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}
