import { type Elite, onShell, packElites, unpackElites } from './elite.ts';
import { Factor, GaussianProcess, type Kernel } from './gaussian-process.ts';

/**
 * A founder, its descendants, and where the best noise among and between them is expected to be. Lineages of independent founders are all but
 * orthogonal, so each has a Gaussian process of its own.
 */
export class Lineage {
  readonly #kernel: Kernel;
  readonly #factor: Factor;
  readonly #points: Elite[] = [];
  /** [n][n] between the points. */
  #cosines: Float64Array[] = [];
  #centre: { readonly noise: Float32Array; readonly expected: number } | null = null;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#factor = new Factor(kernel);
  }

  get points(): readonly Elite[] {
    return this.#points;
  }

  get founder(): number {
    return this.#points[0].founder;
  }

  add(point: Elite): void {
    const noise = onShell(point.noise);
    const row = this.#points.map((known) => cosine(known.noise, noise));
    this.#cosines = [...this.#cosines.map((known, i) => Float64Array.of(...known, row[i])), Float64Array.of(...row, 1)];
    this.#factor.add(row);
    this.#points.push({ ...point, noise });
    this.#centre = null;
  }

  /**
   * The noise whose expected reward is highest, a combination of the points on the shell; `expected` is in the units of `scale`.
   * @param scale mean and deviation of the rewards of N(0, I)
   */
  centre(scale: { readonly mean: number; readonly deviation: number }): { noise: Float32Array; expected: number } {
    this.#centre ??= this.#findCentre(scale);
    return this.#centre;
  }

  state(d: number) {
    return packElites(this.#points, d);
  }

  static restore(kernel: Kernel, values: unknown, noises: ArrayLike<number> | undefined, d: number): Lineage {
    const lineage = new Lineage(kernel);
    for (const point of unpackElites(values, noises, d)) lineage.add(point);
    return lineage;
  }

  #findCentre({ mean, deviation }: { readonly mean: number; readonly deviation: number }) {
    const rewards = this.#points.map(({ reward }) => (reward - mean) / deviation);
    const process = new GaussianProcess(this.#kernel, this.#cosines, rewards, this.#factor);
    const guesses = this.#cosines.map((row) => process.predict(row));
    const { coefficients, expected } = process.climb(guesses.indexOf(Math.max(...guesses)));
    const noise = new Float32Array(this.#points[0].noise.length);
    for (const [i, point] of this.#points.entries()) {
      for (let j = 0; j < noise.length; j++) noise[j] += coefficients[i] * point.noise[j];
    }
    return { noise: onShell(noise), expected: mean + deviation * expected };
  }
}

/** Of two noises of mean square 1. */
function cosine(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum / a.length;
}
