import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import type { Picture } from '../../src/core/picture.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { encodePicture, type PictureFormat } from '../../src/pictures/encode.ts';
import { thumbnailFeatures } from '../../src/pictures/features.ts';

/** Colours of N(0, 1), so that nothing repeats. */
function paintNoise(width: number, height: number): Picture {
  const noise = standardNormal({ seed: 1, stream: 0, index: 0 }, width * height * 3);
  return {
    width,
    height,
    pixels: Uint8Array.from(noise, (value) => Math.min(255, Math.max(0, 128 + 60 * value))),
  };
}

/** One colour per pixel, from `colourAt`. */
function paint(
  width: number,
  height: number,
  colourAt: (x: number, y: number) => readonly number[],
): Picture {
  const pixels = Array.from({ length: width * height }, (_, i) =>
    colourAt(i % width, Math.floor(i / width)),
  ).flat();
  return { width, height, pixels: Uint8Array.from(pixels) };
}

describe('encodePicture', () => {
  it('keeps every pixel in a PNG', async () => {
    const picture = paintNoise(37, 21);
    const { data, info } = await sharp(await encodePicture(picture, 'png'))
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect(info).toMatchObject({ width: 37, height: 21, channels: 3 });
    expect(data.equals(picture.pixels)).toBe(true);
  });

  it.each<[PictureFormat]>([['png'], ['webp'], ['jpeg']])(
    'gives the same bytes of %s twice, of that format',
    async (format) => {
      const picture = paintNoise(64, 64);
      const first = await encodePicture(picture, format);
      expect(
        Buffer.from(first).equals(
          await encodePicture({ ...picture, pixels: picture.pixels.slice() }, format),
        ),
      ).toBe(true);
      const { format: found, width, height } = await sharp(first).metadata();
      expect({ found, width, height }).toEqual({ found: format, width: 64, height: 64 });
    },
  );

  it.each<[PictureFormat, number]>([
    ['webp', 12],
    ['jpeg', 3],
  ])('keeps colours nearly as they are in %s', async (format, tolerance) => {
    const picture = paint(64, 64, (x, y) => [x * 4, y * 4, 128]);
    const data = await sharp(await encodePicture(picture, format))
      .raw()
      .toBuffer();
    const worst = Math.max(...data.map((value, i) => Math.abs(value - picture.pixels[i])));
    expect(worst).toBeLessThanOrEqual(tolerance);
  });
});

describe('thumbnailFeatures', () => {
  it('are the mean colours of a grid, RGB from 0 to 1, row by row', () => {
    // Four by four pixels: each quarter has a colour and, in its last pixel, another.
    const colours = [
      [255, 0, 0],
      [0, 255, 0],
      [0, 0, 255],
      [51, 102, 204],
    ];
    const picture = paint(4, 4, (x, y) =>
      x % 2 === 1 && y % 2 === 1 ? [0, 0, 0] : colours[Math.floor(y / 2) * 2 + Math.floor(x / 2)],
    );
    const expected = colours.flat().map((value) => (value / 255) * 0.75);
    const features = thumbnailFeatures(picture, 2);
    expect(features).toHaveLength(12);
    for (const [i, value] of expected.entries()) expect(features[i]).toBeCloseTo(value, 6);
  });

  it('average all pixels even when the grid does not divide the picture', () => {
    const picture = paintNoise(19, 7);
    const features = thumbnailFeatures(picture, 1);
    for (let channel = 0; channel < 3; channel++) {
      const values = picture.pixels.filter((_, i) => i % 3 === channel);
      expect(features[channel]).toBeCloseTo(
        values.reduce((sum, value) => sum + value, 0) / values.length / 255,
        6,
      );
    }
    // Cells of different sizes have the same mean where the colour is the same.
    const grey = thumbnailFeatures(
      paint(19, 7, () => [51, 51, 51]),
      5,
    );
    expect(grey).toEqual(new Float32Array(5 * 5 * 3).fill(0.2));
  });

  it('are the pixels themselves where the picture is smaller than the grid', () => {
    const picture = paintNoise(3, 2);
    expect(thumbnailFeatures(picture)).toEqual(Float32Array.from(picture.pixels, (value) => value / 255));
  });

  it('put pictures far apart that look different at a glance, and near each other those that do not', () => {
    const distance = (a: Picture, b: Picture) =>
      Math.hypot(...thumbnailFeatures(a).map((value, i) => value - thumbnailFeatures(b)[i]));
    const sky = paint(64, 64, (_x, y) => (y < 32 ? [90, 160, 240] : [40, 160, 60]));
    const grainySky = paint(64, 64, (x, y) => (y < 32 ? [90, 160, 236 + ((x + y) % 2) * 8] : [40, 160, 60]));
    const night = paint(64, 64, () => [10, 10, 40]);
    expect(distance(sky, grainySky)).toBeLessThan(0.01 * distance(sky, night));
  });
});
