/** Shares of the variance of a reward over noises of one prompt; see `covariance`. */
export interface Kernel {
  /** Linear in the noise. */
  readonly linear: number;
  /** Smooth: falls off with the `power` of the cosine. */
  readonly smooth: number;
  readonly power: number;
  /** Of one noise alone: what its neighbours say nothing of. */
  readonly nugget: number;
}

/** Covariance of the rewards of two different noises at this cosine, where each has variance 1. */
export function covariance({ linear, smooth, power }: Kernel, cosine: number): number {
  return linear * cosine + smooth * Math.max(0, cosine) ** power;
}

/**
 * A Gaussian process over directions of noise, conditioned on n rewards (Rasmussen and Williams 2006, section 2.2). It knows the noises by
 * their cosines only, so its cost does not depend on how many numbers a noise has.
 */
export class GaussianProcess {
  readonly #kernel: Kernel;
  /** Row i: cosines of noise i to all. */
  readonly #cosines: readonly Float64Array[];
  readonly #weights: Float64Array;

  /**
   * @param cosines [n][n], ones on the diagonal
   * @param rewards n of about mean 0 and variance 1
   * @param factor of the same noises, where one has been grown with them
   */
  constructor(
    kernel: Kernel,
    cosines: readonly Float64Array[],
    rewards: readonly number[],
    factor = Factor.of(kernel, cosines),
  ) {
    this.#kernel = kernel;
    this.#cosines = cosines;
    this.#weights = factor.solve(rewards);
  }

  /** Expected reward of a noise with these n cosines to the known ones. */
  predict(cosines: Float64Array): number {
    let sum = 0;
    for (let i = 0; i < cosines.length; i++) sum += this.#weights[i] * covariance(this.#kernel, cosines[i]);
    return sum;
  }

  /**
   * Climbs the expected reward from a known noise, over the unit sphere of the known noises' span: gradient ascent with steps that are halved
   * until they help.
   *
   * @param start index of the noise to begin at
   * @returns n coefficients: the noise is sum_i coefficients[i] * noise_i, as long as they are
   */
  climb(start: number, steps = 30): { coefficients: Float64Array; expected: number } {
    const count = this.#cosines.length;
    let coefficients = new Float64Array(count);
    coefficients[start] = 1;
    let cosines = Float64Array.from(this.#cosines[start]);
    let expected = this.predict(cosines);
    let step = 0.5;
    for (let round = 0; round < steps && step > 1e-3; round++) {
      const uphill = this.#slope(cosines);
      const radial = dot(uphill, cosines);
      for (let i = 0; i < count; i++) uphill[i] -= radial * coefficients[i];
      const slopes = this.#times(uphill);
      const size = Math.sqrt(Math.max(0, dot(uphill, slopes)));
      if (size < 1e-9) break;
      for (;;) {
        // z cos(step) + u sin(step) stays on the sphere: u is a unit tangent.
        const [along, across] = [Math.cos(step), Math.sin(step) / size];
        const next = coefficients.map((value, i) => along * value + across * uphill[i]);
        const nextCosines = cosines.map((value, i) => along * value + across * slopes[i]);
        const nextExpected = this.predict(nextCosines);
        if (nextExpected > expected) {
          [coefficients, cosines, expected] = [next, nextCosines, nextExpected];
          step = Math.min(0.5, step * 1.5);
          break;
        }
        step /= 2;
        if (step <= 1e-3) break;
      }
    }
    return { coefficients, expected };
  }

  /** d predict / d cosine_i. */
  #slope(cosines: Float64Array): Float64Array {
    const { linear, smooth, power } = this.#kernel;
    return cosines.map(
      (cosine, i) => this.#weights[i] * (linear + power * smooth * Math.max(0, cosine) ** (power - 1)),
    );
  }

  #times(vector: Float64Array): Float64Array {
    return Float64Array.from(this.#cosines, (row) => dot(row, vector));
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Cholesky's factor of the covariance matrix of rewards, which grows by a row with every noise. */
export class Factor {
  readonly #kernel: Kernel;
  /** Row i: the i + 1 numbers of its lower half. */
  readonly #rows: Float64Array[] = [];

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  static of(kernel: Kernel, cosines: readonly Float64Array[]): Factor {
    const factor = new Factor(kernel);
    for (const [i, row] of cosines.entries()) factor.add(row.subarray(0, i));
    return factor;
  }

  /** Takes in a noise by its cosines to the n that are there. */
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

  /** x of A x = b, where A is the covariance matrix; b has as many numbers as there are noises. */
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
