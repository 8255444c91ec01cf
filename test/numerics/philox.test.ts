import { describe, expect, it } from 'vitest';
import { philox4x32 } from '../../src/numerics/philox.ts';

type Words4 = [number, number, number, number];

function random(counter: Words4, key: [number, number]): string {
  const out = new Uint32Array(4);
  philox4x32(...counter, ...key, out);
  return [...out].map((word) => word.toString(16).padStart(8, '0')).join(' ');
}

describe('philox4x32', () => {
  // Random123 1.14, tests/kat_vectors, "philox4x32 10".
  it('gives the published words for a counter and key of zeros', () => {
    expect(random([0, 0, 0, 0], [0, 0])).toBe('6627e8d5 e169c58d bc57ac4c 9b00dbd8');
  });

  it('gives the published words for a counter and key of ones', () => {
    const ones = 0xffffffff;
    expect(random([ones, ones, ones, ones], [ones, ones])).toBe('408f276d 41c83b0e a20bc7c6 6d5451fd');
  });

  it('gives the published words for the digits of pi', () => {
    const counter: Words4 = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
    expect(random(counter, [0xa4093822, 0x299f31d0])).toBe('d16cfe09 94fdcceb 5001e420 24126ea1');
  });
});
