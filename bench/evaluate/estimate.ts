import { mean, standardError } from '../../src/numerics/statistics.ts';

/** A mean with its 95 % confidence interval. */
export interface Estimate {
  readonly mean: number;
  /** null: there are fewer than two values. */
  readonly standardError: number | null;
  /** Half the width of the interval; null: there are fewer than two values. */
  readonly halfWidth: number | null;
  /** Number of values. */
  readonly count: number;
}

/** Estimates the mean of a few values. The interval uses Student's t. */
export function estimate(values: readonly number[]): Estimate {
  if (values.length < 2)
    return { mean: mean(values), standardError: null, halfWidth: null, count: values.length };
  const error = standardError(values);
  return {
    mean: mean(values),
    standardError: error,
    halfWidth: studentQuantile(values.length - 1) * error,
    count: values.length,
  };
}

/**
 * The 97.5 % quantile of Student's t, with an error of at most 0.1 % from 3 degrees of freedom on
 * (expansion in 1 / degrees, Hill, Communications of the ACM 1970).
 * @param degrees degrees of freedom, at least 1
 */
export function studentQuantile(degrees: number): number {
  if (degrees === 1) return 12.706;
  if (degrees === 2) return 4.303;
  const z = 1.959964;
  const [z3, z5, z7, z9] = [z ** 3, z ** 5, z ** 7, z ** 9];
  return (
    z +
    (z3 + z) / (4 * degrees) +
    (5 * z5 + 16 * z3 + 3 * z) / (96 * degrees ** 2) +
    (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * degrees ** 3) +
    (79 * z9 + 776 * z7 + 1482 * z5 - 1920 * z3 - 945 * z) / (92160 * degrees ** 4)
  );
}
