/**
 * Solves a linear system of n equations by Gaussian elimination with partial pivoting.
 *
 * @param rows n rows of n coefficients, each followed by its right side; changed in place
 * @returns n numbers; not finite if the system is singular
 */
export function solveLinearSystem(rows: number[][]): number[] {
  const n = rows.length;
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let i = column + 1; i < n; i++) {
      if (Math.abs(rows[i][column]) > Math.abs(rows[pivot][column])) pivot = i;
    }
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    for (let i = 0; i < n; i++) {
      if (i === column) continue;
      const factor = rows[i][column] / rows[column][column];
      rows[i] = rows[i].map((value, j) => value - factor * rows[column][j]);
    }
  }
  return rows.map((row, i) => row[n] / row[i]);
}
