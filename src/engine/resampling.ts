import type { Picture } from '../core/picture.ts';

/** Pillow's filter weights are fixed-point integers in units of 1 / FIXED_POINT. */
const FIXED_POINT = 2 ** 22;

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
  const resampleColumns = (wide: Picture) =>
    wide.height === height ? wide : transpose(resampleRows(transpose(wide), height, filter));
  return fewerRows > 0 && fewerRows > 2 * fewerColumns
    ? resampleRows(resampleColumns(picture), width, filter)
    : resampleColumns(resampleRows(picture, width, filter));
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

/** Resamples each row to `newWidth` pixels. */
function resampleRows(picture: Picture, newWidth: number, filter: keyof typeof FILTERS): Picture {
  const { width, height, pixels } = picture;
  if (width === newWidth) return picture;
  const { support, weight } = FILTERS[filter];
  const scale = width / newWidth;
  const filterScale = Math.max(1, scale);
  const reach = support * filterScale;
  const result = new Uint8Array(newWidth * height * 3);
  for (let x = 0; x < newWidth; x++) {
    const center = (x + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(width, Math.trunc(center + reach + 0.5));
    const weights = Array.from({ length: end - first }, (_, i) =>
      weight((first + i - center + 0.5) / filterScale),
    );
    const sum = weights.reduce((total, value) => total + value, 0);
    const fixed = weights.map((value) => Math.trunc((value / sum) * FIXED_POINT + (value < 0 ? -0.5 : 0.5)));
    for (let y = 0; y < height; y++) {
      for (let channel = 0; channel < 3; channel++) {
        let total = FIXED_POINT / 2;
        for (let i = 0; i < fixed.length; i++)
          total += fixed[i] * pixels[(y * width + first + i) * 3 + channel];
        result[(y * newWidth + x) * 3 + channel] = Math.min(
          255,
          Math.max(0, Math.floor(total / FIXED_POINT)),
        );
      }
    }
  }
  return { width: newWidth, height, pixels: result };
}

function transpose({ width, height, pixels }: Picture): Picture {
  const result = new Uint8Array(pixels.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < 3; channel++)
        result[(x * height + y) * 3 + channel] = pixels[(y * width + x) * 3 + channel];
    }
  }
  return { width: height, height: width, pixels: result };
}
