import { expect, it } from 'vitest';
import { dot, dotInOrder } from '../../src/numerics/dot.ts';

it.each([0, 1, 3, 4, 5, 8, 11])('dot adds %i products', (length) => {
  const a = Float32Array.from({ length }, (_, i) => i + 1);
  expect(dot(a, a)).toBe((length * (length + 1) * (2 * length + 1)) / 6);
});

it('dotInOrder adds from the first product to the last', () => {
  const ones = new Float64Array(6).fill(1);
  // Each 1 alone vanishes beside 2^53; in four partial sums they would not.
  expect(dotInOrder(Float64Array.of(2 ** 53, 1, 1, 1, 1, 1), ones)).toBe(2 ** 53);
});
