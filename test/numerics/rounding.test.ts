import { expect, it } from 'vitest';
import { roundHalfToEven } from '../../src/numerics/rounding.ts';

it.each([
  [0.5, 0],
  [1.5, 2],
  [2.5, 2],
  [-0.5, 0],
  [-1.5, -2],
  [1.2, 1],
  [1.7, 2],
  [3, 3],
])('roundHalfToEven(%d) is %d', (value, expected) => {
  expect(Math.abs(roundHalfToEven(value) - expected)).toBe(0);
});
