import { describe, expect, it } from 'vitest';
import { resample } from '../../src/engine/resampling.ts';
import { decodeBytes, findPicture, fixture } from '../support/resample-fixture.ts';

describe('resample', () => {
  const cases = fixture.resized.map((one) => {
    const { width, height } = findPicture(one.picture);
    return [`${one.picture} ${width}x${height} to ${one.width}x${one.height}, ${one.filter}`, one] as const;
  });
  it.each(cases)("gives Pillow's bytes for %s", (_, { picture, filter, width, height, pixels }) => {
    const result = resample(findPicture(picture), width, height, filter);
    expect([result.width, result.height]).toEqual([width, height]);
    expect(Buffer.from(result.pixels).equals(decodeBytes(pixels))).toBe(true);
  });

  it('does not change its input', () => {
    const picture = findPicture('noise');
    const before = picture.pixels.slice();
    resample(picture, 5, 7, 'bicubic');
    resample(picture, 24, 7, 'bilinear');
    expect(picture.pixels).toEqual(before);
  });
});
