import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { encodePicture, type PictureFormat } from '../../src/pictures/picture-file.ts';
import { noisePicture, pictureOf } from '../support/pictures.ts';

describe('encodePicture', () => {
  it('is lossless as PNG', async () => {
    const picture = noisePicture(37, 21);
    const { data, info } = await sharp(await encodePicture(picture, 'png'))
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect(info).toMatchObject({ width: 37, height: 21, channels: 3 });
    expect(data.equals(picture.pixels)).toBe(true);
  });

  it.each<[PictureFormat]>([['png'], ['webp'], ['jpeg']])(
    'gives the same bytes of %s each time',
    async (format) => {
      const picture = noisePicture(64, 64);
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
  ])('is nearly lossless as %s', async (format, tolerance) => {
    const picture = pictureOf(64, 64, (x, y) => [x * 4, y * 4, 128]);
    const data = await sharp(await encodePicture(picture, format))
      .raw()
      .toBuffer();
    const worst = Math.max(...data.map((value, i) => Math.abs(value - picture.pixels[i])));
    expect(worst).toBeLessThanOrEqual(tolerance);
  });
});
