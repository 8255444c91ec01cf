import { describe, expect, it } from 'vitest';
import { fromFloat16, toFloat16 } from '../../src/engine/graphs/float16.ts';
import { guide } from '../../src/engine/guidance.ts';
import { findNotFinite, toPixels } from '../../src/engine/pixels.ts';
import { standardNormal } from '../../src/numerics/normal.ts';

const normal = (length: number) => standardNormal({ seed: 1, stream: 0, index: 0 }, length);

/** The formula of diffusers' image processor. */
function expectedPixels(planes: Float32Array): Uint8Array {
  const plane = planes.length / 3;
  return Uint8Array.from({ length: planes.length }, (_, at) => {
    const value = planes[(at % 3) * plane + Math.floor(at / 3)];
    return Math.round(Math.min(1, Math.max(0, value / 2 + 0.5)) * 255);
  });
}

describe('toPixels', () => {
  it('rounds as diffusers does, at every halfway value, too', () => {
    const halfway = Float32Array.from({ length: 255 }, (_, i) => (2 * (i + 0.5)) / 255 - 1);
    const around = Float32Array.of(-2, -1, -0, 0, 1, 2, ...halfway, ...normal(30_000));
    const planes = around.subarray(0, around.length - (around.length % 3));
    expect(toPixels(planes)).toEqual(expectedPixels(planes));
  });

  it('gives for bits of float16 what it gives for their values', () => {
    const finite = Uint16Array.from({ length: 2 ** 16 }, (_, i) => i).filter((i) => (i & 0x7c00) !== 0x7c00);
    const bits = finite.subarray(0, finite.length - (finite.length % 3));
    expect(toPixels(bits)).toEqual(expectedPixels(fromFloat16(bits)));
  });
});

describe('findNotFinite', () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('finds %d', (wrong) => {
    const numbers = Float32Array.of(0, 65504, wrong, 1);
    expect(findNotFinite(numbers)).toBe(wrong);
    expect(findNotFinite(toFloat16(numbers))).toBe(wrong);
  });

  it('finds nothing among finite numbers', () => {
    const numbers = Float32Array.of(0, -0, 65504, -65504, 2 ** -24);
    expect(findNotFinite(numbers)).toBeUndefined();
    expect(findNotFinite(toFloat16(numbers))).toBeUndefined();
  });
});

describe('guide', () => {
  it('is u + g (c - u), the same for bits of float16 as for their values', () => {
    const bits = toFloat16(normal(62));
    const values = fromFloat16(bits);
    const expected = values.slice(0, 31).map((u, i) => u + 7.5 * (values[31 + i] - u));
    for (const all of [values, bits])
      expect(guide(all.subarray(0, 31), all.subarray(31), 7.5, new Float32Array(31))).toEqual(expected);
  });
});
