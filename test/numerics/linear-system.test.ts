import { expect, it } from 'vitest';
import { solveLinearSystem } from '../../src/numerics/linear-system.ts';

it('solves two equations, the first of which has no pivot', () => {
  expect(
    solveLinearSystem([
      [0, 2, 4],
      [3, 1, 11],
    ]),
  ).toEqual([3, 2]);
});

it('solves three equations', () => {
  const rows = [
    [2, 1, -1],
    [-3, -1, 2],
    [-2, 1, 2],
  ];
  const x = [2, 3, -1];
  const withRightSides = rows.map((row) => [...row, row.reduce((sum, value, j) => sum + value * x[j], 0)]);
  solveLinearSystem(withRightSides).forEach((value, i) => {
    expect(value).toBeCloseTo(x[i], 12);
  });
});
