import { dot } from '../dot.ts';
import { type Elite, onShell, packElites, unpackElites } from './elite.ts';
import { Factor, GaussianProcess, type Kernel } from './gaussian-process.ts';

/** Mean and deviation of the rewards of N(0, I). */
interface Scale {
  readonly mean: number;
  readonly deviation: number;
}

/** Where a Gaussian process expects the highest reward: a combination of its points. */
interface Optimum {
  readonly coefficients: Float64Array;
  /** In deviations above the mean. */
  readonly expected: number;
}

/**
 * A founder, its descendants, and where the best noise among and between them is expected to be. Lineages of independent founders are all but
 * orthogonal, so each has a Gaussian process of its own.
 */
export class Lineage {
  readonly #kernel: Kernel;
  readonly #factor: Factor;
  readonly #points: Elite[] = [];
  /** Row i: cosines of point i to all n, and room for those to come. */
  readonly #cosines: Float64Array[] = [];
  #optimum: Optimum | null = null;
  #centre: Float32Array | null = null;

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
    this.#append(row);
    this.#factor.add(row);
    this.#points.push({ ...point, noise });
    this.#optimum = null;
    this.#centre = null;
  }

  /** The matrix grows by a row and a column; room is doubled when it is used up, so that this costs O(n) on average. */
  #append(row: readonly number[]): void {
    const count = row.length;
    const room = this.#cosines[0]?.length ?? 0;
    const wanted = count < room ? room : Math.max(8, 2 * room);
    if (wanted > room) {
      for (const [i, known] of this.#cosines.entries()) {
        this.#cosines[i] = new Float64Array(wanted);
        this.#cosines[i].set(known);
      }
    }
    for (let i = 0; i < count; i++) this.#cosines[i][count] = row[i];
    const added = new Float64Array(wanted);
    added.set(row);
    added[count] = 1;
    this.#cosines.push(added);
  }

  /** The noise whose expected reward is highest, a combination of the points on the shell: what is worth trying next. */
  centre(scale: Scale): Float32Array {
    this.#centre ??= this.#combine(this.#findOptimum(scale).coefficients);
    return this.#centre;
  }

  /**
   * The noise that is worth handing out, on the shell between the optimum and the best point: the optimum alone has never been seen, and its expected
   * reward, the highest of very many, is too high; the best point alone may be a needle that its surroundings do not share.
   * @param trust the optimum's share, 0 to 1
   */
  anchor(scale: Scale, trust: number): Float32Array {
    const coefficients = this.#findOptimum(scale).coefficients.map((coefficient) => trust * coefficient);
    const rewards = this.#points.map(({ reward }) => reward);
    coefficients[rewards.indexOf(Math.max(...rewards))] += 1 - trust;
    return this.#combine(coefficients);
  }

  /** The reward expected at the centre. */
  expected(scale: Scale): number {
    return scale.mean + scale.deviation * this.#findOptimum(scale).expected;
  }

  state(d: number) {
    return packElites(this.#points, d);
  }

  static restore(kernel: Kernel, values: unknown, noises: ArrayLike<number> | undefined, d: number): Lineage {
    const lineage = new Lineage(kernel);
    for (const point of unpackElites(values, noises, d)) lineage.add(point);
    return lineage;
  }

  #findOptimum({ mean, deviation }: Scale): Optimum {
    if (this.#optimum) return this.#optimum;
    const rewards = this.#points.map(({ reward }) => (reward - mean) / deviation);
    const cosines = this.#cosines.map((row) => row.subarray(0, rewards.length));
    const process = new GaussianProcess(this.#kernel, cosines, rewards, this.#factor);
    const guesses = cosines.map((row) => process.predict(row));
    this.#optimum = process.climb(guesses.indexOf(Math.max(...guesses)));
    return this.#optimum;
  }

  #combine(coefficients: Float64Array): Float32Array {
    return onShell(combine(coefficients, this.#points));
  }
}

/** Of two noises of mean square 1. */
const cosine = (a: Float32Array, b: Float32Array): number => dot(a, b) / a.length;

/** sum_i coefficients[i] * points[i], four points at a time: each pass over the sum costs as much as one over a point. */
function combine(coefficients: Float64Array, points: readonly Elite[]): Float32Array {
  const sum = new Float32Array(points[0].noise.length);
  for (let i = 0; i < points.length; i += 4) {
    const noises = [0, 1, 2, 3].map((k) => points[Math.min(i + k, points.length - 1)].noise);
    const [c0, c1, c2, c3] = [0, 1, 2, 3].map((k) => (i + k < points.length ? coefficients[i + k] : 0));
    const [n0, n1, n2, n3] = noises;
    for (let j = 0; j < sum.length; j++) sum[j] += c0 * n0[j] + c1 * n1[j] + c2 * n2[j] + c3 * n3[j];
  }
  return sum;
}
