import type { Picture } from '../core/picture.ts';

/** Pillow keeps filter weights as integers with this many bits behind the point. */
const PRECISION = 2 ** 22;

const FILTERS = {
  lanczos: { support: 3, weight: (x: number) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
  bilinear: { support: 1, weight: (x: number) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: cubic },
};

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

export type Filter = keyof typeof FILTERS | 'nearest';

/** Keys' cubic convolution with a = -0.5, as Pillow's BICUBIC. */
function cubic(x: number): number {
  const a = -0.5;
  const t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}

/**
 * A picture at another size as Pillow makes it (`Image.resize` of Pillow 13, libImaging/Resample.c): antialiased when it
 * shrinks, one axis after the other, both rounded to bytes. Rewards were trained on such pixels; a browser's or sharp's
 * differ.
 */
export function resample(picture: Picture, width: number, height: number, filter: Filter): Picture {
  if (filter === 'nearest') return takeNearest(picture, width, height);
  // Pillow takes the vertical pass first where it removes much more than the horizontal one. Bytes differ by the order.
  const [fewerRows, fewerColumns] = [picture.height - height, picture.width - width];
  const resampleColumns = (wide: Picture) =>
    wide.height === height ? wide : transpose(resampleRows(transpose(wide), height, filter));
  return fewerRows > 0 && fewerRows > 2 * fewerColumns
    ? resampleRows(resampleColumns(picture), width, filter)
    : resampleColumns(resampleRows(picture, width, filter));
}

/** `Image.resize` with NEAREST (libImaging/Geometry.c, ImagingScaleAffine): positions are summed up, so that they round as there. */
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

function positions(length: number, newLength: number): number[] {
  const step = length / newLength;
  let at = step * 0.5;
  return Array.from({ length: newLength }, () => {
    const position = Math.min(Math.trunc(at), length - 1);
    at += step;
    return position;
  });
}

function resampleRows(picture: Picture, newWidth: number, filter: keyof typeof FILTERS): Picture {
  const { width, height, pixels } = picture;
  if (width === newWidth) return picture;
  const { support, weight } = FILTERS[filter];
  const scale = width / newWidth;
  const filterScale = Math.max(1, scale);
  const reach = support * filterScale;
  const result = new Uint8Array(newWidth * height * 3);
  for (let x = 0; x < newWidth; x++) {
    const centre = (x + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(width, Math.trunc(centre + reach + 0.5));
    const weights = Array.from({ length: end - first }, (_, i) =>
      weight((first + i - centre + 0.5) / filterScale),
    );
    const sum = weights.reduce((total, value) => total + value, 0);
    const fixed = weights.map((value) => Math.trunc((value / sum) * PRECISION + (value < 0 ? -0.5 : 0.5)));
    for (let y = 0; y < height; y++) {
      for (let channel = 0; channel < 3; channel++) {
        let total = PRECISION / 2;
        for (let i = 0; i < fixed.length; i++)
          total += fixed[i] * pixels[(y * width + first + i) * 3 + channel];
        result[(y * newWidth + x) * 3 + channel] = Math.min(255, Math.max(0, Math.floor(total / PRECISION)));
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
