import { dotInOrder } from '../dot.ts';

/**
 * The covariance function of rewards over noises of one prompt, as shares of their variance:
 * k(cosine) = linear * cosine + smooth * max(0, cosine)^power, plus `nugget` for a noise with
 * itself. The default of `gp` has no linear part.
 */
export interface Kernel {
  /** Share that is linear in the noise. */
  readonly linear: number;
  /** Share that neighbours have in common. */
  readonly smooth: number;
  /** Power of the cosine with which the smooth share decreases. */
  readonly power: number;
  /** Share of a single noise, independent of its neighbours. */
  readonly nugget: number;
}

/**
 * Covariance of the rewards of two different noises at this cosine, if the variance of a reward is
 * 1.
 */
export function covariance({ linear, smooth, power }: Kernel, cosine: number): number {
  return linear * cosine + smooth * Math.max(0, cosine) ** power;
}

/** Steps of `climb`. */
const MAX_CLIMB_STEPS = 30;
/** Radians. */
const LARGEST_CLIMB_STEP = 0.5;
/** Radians; `climb` stops when its steps are shorter. */
const SMALLEST_CLIMB_STEP = 1e-3;

/**
 * A Gaussian process over directions of noise, conditioned on n rewards (Rasmussen and Williams
 * 2006, section 2.2). It knows the noises by their cosines only, so its cost does not depend on d.
 */
export class GaussianProcess {
  readonly #kernel: Kernel;
  /** [n][n]: row i holds the cosines of noise i to all noises. */
  readonly #cosines: readonly Float64Array[];
  /** K^-1 y, n numbers. */
  readonly #weights: Float64Array;

  /**
   * @param cosines [n][n], ones on the diagonal
   * @param rewards n numbers, standardized to mean 0 and variance 1
   * @param factor Cholesky factor of the covariance matrix of the same noises, if the caller has it
   */
  constructor(
    kernel: Kernel,
    cosines: readonly Float64Array[],
    rewards: readonly number[],
    factor = CholeskyFactor.of(kernel, cosines),
  ) {
    this.#kernel = kernel;
    this.#cosines = cosines;
    this.#weights = factor.solve(rewards);
  }

  /**
   * Expected reward of a noise (equation 2.25).
   * @param cosines its n cosines to the known noises
   */
  predict(cosines: Float64Array): number {
    let sum = 0;
    for (let i = 0; i < cosines.length; i++) sum += this.#weights[i] * covariance(this.#kernel, cosines[i]);
    return sum;
  }

  /**
   * Climbs the expected reward from a known noise on the unit sphere in the span of the known
   * noises. Each step of gradient ascent is halved until it improves the expectation.
   *
   * @param start index of the noise to start from
   * @returns n coefficients of a noise sum_i coefficients[i] * noise_i, which has the norm of the
   *   known noises, and its expected reward
   */
  climb(start: number): { coefficients: Float64Array; expected: number } {
    const count = this.#cosines.length;
    let coefficients = new Float64Array(count);
    coefficients[start] = 1;
    let cosines = Float64Array.from(this.#cosines[start]);
    let expected = this.predict(cosines);
    let step = LARGEST_CLIMB_STEP;
    for (let round = 0; round < MAX_CLIMB_STEPS && step > SMALLEST_CLIMB_STEP; round++) {
      // The gradient as coefficients of the noises, without its radial part.
      const uphill = this.#slopes(cosines);
      const radial = dotInOrder(uphill, cosines);
      for (let i = 0; i < count; i++) uphill[i] -= radial * coefficients[i];
      const uphillCosines = this.#multiply(uphill);
      const norm = Math.sqrt(Math.max(0, dotInOrder(uphill, uphillCosines)));
      if (norm < 1e-9) break;
      for (;;) {
        // z cos(step) + u sin(step) stays on the sphere, because u is a unit tangent.
        const [along, across] = [Math.cos(step), Math.sin(step) / norm];
        const next = coefficients.map((value, i) => along * value + across * uphill[i]);
        const nextCosines = cosines.map((value, i) => along * value + across * uphillCosines[i]);
        const nextExpected = this.predict(nextCosines);
        if (nextExpected > expected) {
          [coefficients, cosines, expected] = [next, nextCosines, nextExpected];
          step = Math.min(LARGEST_CLIMB_STEP, step * 1.5);
          break;
        }
        step /= 2;
        if (step <= SMALLEST_CLIMB_STEP) break;
      }
    }
    return { coefficients, expected };
  }

  /** d predict / d cosine_i, n numbers. */
  #slopes(cosines: Float64Array): Float64Array {
    const { linear, smooth, power } = this.#kernel;
    return cosines.map(
      (cosine, i) => this.#weights[i] * (linear + power * smooth * Math.max(0, cosine) ** (power - 1)),
    );
  }

  /** The product of the matrix of cosines with a vector of n numbers. */
  #multiply(vector: Float64Array): Float64Array {
    return Float64Array.from(this.#cosines, (row) => dotInOrder(row, vector));
  }
}

/**
 * The lower Cholesky factor L of the covariance matrix K = L L^T of rewards (Rasmussen and Williams
 * 2006, appendix A.4). It grows by one row with every noise, at a cost of O(n^2) instead of O(n^3).
 */
export class CholeskyFactor {
  readonly #kernel: Kernel;
  /** Row i has i + 1 numbers. */
  readonly #rows: Float64Array[] = [];

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** The factor of all noises at once, from their matrix of cosines. */
  static of(kernel: Kernel, cosines: readonly Float64Array[]): CholeskyFactor {
    const factor = new CholeskyFactor(kernel);
    for (const [i, row] of cosines.entries()) factor.add(row.subarray(0, i));
    return factor;
  }

  /**
   * Adds the row of a new noise.
   * @param cosines its cosines to the n noises before it
   */
  add(cosines: ArrayLike<number>): void {
    const { linear, smooth, nugget } = this.#kernel;
    const count = this.#rows.length;
    const row = new Float64Array(count + 1);
    let rest = linear + smooth + nugget;
    for (let j = 0; j < count; j++) {
      const other = this.#rows[j];
      let value = covariance(this.#kernel, cosines[j]);
      for (let k = 0; k < j; k++) value -= row[k] * other[k];
      row[j] = value / other[j];
      rest -= row[j] ** 2;
    }
    row[count] = Math.sqrt(Math.max(1e-9, rest));
    this.#rows.push(row);
  }

  /** The solution x of K x = b, n numbers (algorithm 2.1, line 3). */
  solve(b: readonly number[]): Float64Array {
    const x = Float64Array.from(b);
    const rows = this.#rows;
    for (const [i, row] of rows.entries()) {
      for (let k = 0; k < i; k++) x[i] -= row[k] * x[k];
      x[i] /= row[i];
    }
    for (let i = rows.length - 1; i >= 0; i--) {
      x[i] /= rows[i][i];
      for (let k = 0; k < i; k++) x[k] -= rows[i][k] * x[i];
    }
    return x;
  }
}
