import { Float16Array } from '@petamoriken/float16';
import { describe, expect, it } from 'vitest';
import { fromFloat16, toFloat16 } from '../../src/engine/graphs/float16.ts';

const toBits = (value: number) => toFloat16(Float32Array.of(value))[0];
const fromBits = (bits: number) => fromFloat16(Uint16Array.of(bits))[0];

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
  ])('converts %d to the bits %i and back', (value, bits) => {
    expect(toBits(value)).toBe(bits);
    expect(fromBits(bits)).toBeCloseTo(value, 3);
    expect(Object.is(Math.sign(fromBits(bits)), Math.sign(value))).toBe(true);
  });

  it('rounds to the nearest, ties to even', () => {
    expect(toBits(1 + 2 ** -11)).toBe(0x3c00);
    expect(toBits(1 + 3 * 2 ** -11)).toBe(0x3c02);
    expect(toBits(1 + 2 ** -11 + 2 ** -20)).toBe(0x3c01);
  });

  it('overflows to infinity and preserves NaN, so that the decoder can detect both', () => {
    expect(fromBits(toBits(70000))).toBe(Number.POSITIVE_INFINITY);
    expect(fromBits(toBits(Number.NaN))).toBeNaN();
  });

  it('agrees with another implementation around every pattern of the leading 16 bits', () => {
    const words = new Uint32Array(2 ** 16 * 8);
    // The bits behind them: ends, and both sides of ties.
    const tails = [0, 1, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0xffff];
    for (let i = 0; i < words.length; i++) words[i] = ((i >>> 3) << 16) | tails[i & 7];
    const values = new Float32Array(words.buffer).filter((value) => !Number.isNaN(value));
    expect(toFloat16(values)).toEqual(new Uint16Array(new Float16Array(values).buffer));
  });

  it('writes to the array that it is given', () => {
    const [bits, values] = [new Uint16Array(6), new Float32Array(5)];
    expect(toFloat16(Float32Array.of(9, 1, -2, 1, 1, -2).subarray(1), bits)).toBe(bits);
    expect([...bits]).toEqual([0x3c00, 0xc000, 0x3c00, 0x3c00, 0xc000, 0]);
    expect(fromFloat16(bits.subarray(0, 5), values)).toBe(values);
    expect([...values]).toEqual([1, -2, 1, 1, -2]);
  });

  it('converts every bit pattern of a finite number and back', () => {
    const bits = Uint16Array.from({ length: 2 ** 16 }, (_, i) => i).filter((i) => (i & 0x7c00) !== 0x7c00);
    expect(toFloat16(fromFloat16(bits))).toEqual(bits);
  });
});
