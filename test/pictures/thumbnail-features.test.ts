import { describe, expect, it } from 'vitest';
import type { Picture } from '../../src/core/picture.ts';
import { thumbnailFeatures } from '../../src/pictures/thumbnail-features.ts';
import { noisePicture, pictureOf } from '../support/pictures.ts';

describe('thumbnailFeatures', () => {
  it('returns the mean colors of a grid, RGB from 0 to 1, row by row', () => {
    // Four by four pixels: in each quarter three pixels have its color, and the last one is black.
    const colors = [
      [255, 0, 0],
      [0, 255, 0],
      [0, 0, 255],
      [51, 102, 204],
    ];
    const picture = pictureOf(4, 4, (x, y) =>
      x % 2 === 1 && y % 2 === 1 ? [0, 0, 0] : colors[Math.floor(y / 2) * 2 + Math.floor(x / 2)],
    );
    const expected = colors.flat().map((value) => (value / 255) * 0.75);
    const features = thumbnailFeatures(picture, 2);
    expect(features).toHaveLength(12);
    for (const [i, value] of expected.entries()) expect(features[i]).toBeCloseTo(value, 6);
  });

  it('counts all pixels if the grid does not divide the picture evenly', () => {
    const picture = noisePicture(19, 7);
    const features = thumbnailFeatures(picture, 1);
    for (let channel = 0; channel < 3; channel++) {
      const values = picture.pixels.filter((_, i) => i % 3 === channel);
      expect(features[channel]).toBeCloseTo(
        values.reduce((sum, value) => sum + value, 0) / values.length / 255,
        6,
      );
    }
    // Cells of different sizes have the same mean in a uniform picture.
    const grey = thumbnailFeatures(
      pictureOf(19, 7, () => [51, 51, 51]),
      5,
    );
    expect(grey).toEqual(new Float32Array(5 * 5 * 3).fill(0.2));
  });

  it('returns the pixels themselves if the picture is smaller than the grid', () => {
    const picture = noisePicture(3, 2);
    expect(thumbnailFeatures(picture)).toEqual(Float32Array.from(picture.pixels, (value) => value / 255));
  });

  it('has distant vectors for pictures that look different at a glance, and close ones for others', () => {
    const distance = (a: Picture, b: Picture) =>
      Math.hypot(...thumbnailFeatures(a).map((value, i) => value - thumbnailFeatures(b)[i]));
    const sky = pictureOf(64, 64, (_x, y) => (y < 32 ? [90, 160, 240] : [40, 160, 60]));
    const grainySky = pictureOf(64, 64, (x, y) =>
      y < 32 ? [90, 160, 236 + ((x + y) % 2) * 8] : [40, 160, 60],
    );
    const night = pictureOf(64, 64, () => [10, 10, 40]);
    expect(distance(sky, grainySky)).toBeLessThan(0.01 * distance(sky, night));
  });
});
