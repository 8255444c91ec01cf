import { describe, expect, it } from 'vitest';
import { fromFloat16, toFloat16 } from '../../src/engine/graphs/float16.ts';

const there = (value: number) => toFloat16(Float32Array.of(value))[0];
const back = (bits: number) => fromFloat16(Uint16Array.of(bits))[0];

describe('float16', () => {
  // Patterns from IEEE 754-2019, section 3.6.
  it.each([
    [0, 0x0000],
    [-0, 0x8000],
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [1 / 3, 0x3555],
    [Number.POSITIVE_INFINITY, 0x7c00],
    [Number.NEGATIVE_INFINITY, 0xfc00],
  ])('%d is %i', (value, bits) => {
    expect(there(value)).toBe(bits);
    expect(back(bits)).toBeCloseTo(value, 3);
    expect(Object.is(Math.sign(back(bits)), Math.sign(value))).toBe(true);
  });

  it('rounds to the nearest, ties to even', () => {
    expect(there(1 + 2 ** -11)).toBe(0x3c00);
    expect(there(1 + 3 * 2 ** -11)).toBe(0x3c02);
    expect(there(1 + 2 ** -11 + 2 ** -20)).toBe(0x3c01);
  });

  it('overflows to infinity and keeps NaN, which a decoder has to notice', () => {
    expect(back(there(70000))).toBe(Number.POSITIVE_INFINITY);
    expect(back(there(Number.NaN))).toBeNaN();
  });

  it('gives every pattern back', () => {
    const bits = Uint16Array.from({ length: 2 ** 16 }, (_, i) => i).filter((i) => (i & 0x7c00) !== 0x7c00);
    expect(toFloat16(fromFloat16(bits))).toEqual(bits);
  });
});
