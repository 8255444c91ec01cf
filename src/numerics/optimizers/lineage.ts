import { dot } from '../dot.ts';
import { type Elite, packElites, projectToShell, unpackElites } from './elite.ts';
import { CholeskyFactor, GaussianProcess, type Kernel } from './gaussian-process.ts';

/**
 * Mean and standard deviation of the rewards of N(0, I), by which a lineage standardizes its
 * rewards.
 */
export interface RewardScale {
  readonly mean: number;
  readonly deviation: number;
}

/** The maximum of a Gaussian process's expectation, as a combination of its points. */
interface Optimum {
  readonly coefficients: Float64Array;
  /** Expected reward in standard deviations above the mean. */
  readonly expected: number;
}

/** Initial capacity, in noises of the lineage, of the matrix of their cosines. */
const INITIAL_CAPACITY = 8;
/** Share of the points that stays when a lineage has reached its largest number of points. */
const SHARE_KEPT = 0.75;

/**
 * A founder (a noise from N(0, I)) with its descendants, and the Gaussian process that says where
 * the best noise among and between them is expected. Independent founders are almost orthogonal, so
 * each lineage has a process of its own.
 *
 * The process knows a window of the points: the latest and the best one. Its cost and its memory
 * are bounded by that, whatever the budget (a subset of the data, Rasmussen and Williams 2006,
 * section 8.3.3). Earlier points lie far from the centre, which moves, and say little about it.
 */
export class Lineage {
  readonly #kernel: Kernel;
  readonly #maxPoints: number;
  #factor: CholeskyFactor;
  /** In the order in which they were added; their noises lie on the shell. */
  #points: Elite[] = [];
  /** Row i holds the cosines of point i to all n points, followed by unused capacity. */
  #cosines: Float64Array[] = [];
  /** Number of points that left the window. */
  #dropped: number;
  /** Computed on demand; every new point invalidates it. */
  #optimum: Optimum | null = null;
  #centre: Float32Array | null = null;

  /**
   * @param maxPoints most points that the window holds, >= 2; the results are the same for every
   *   limit that is not reached
   * @param dropped number of points that left the window of the same lineage before
   */
  constructor(kernel: Kernel, maxPoints = Number.POSITIVE_INFINITY, dropped = 0) {
    this.#kernel = kernel;
    this.#maxPoints = maxPoints;
    this.#dropped = dropped;
    this.#factor = new CholeskyFactor(kernel);
  }

  /** The founder and its descendants in the window, in the order in which they were added. */
  get points(): readonly Elite[] {
    return this.#points;
  }

  /** Index of the founder's noise key. */
  get founder(): number {
    return this.#points[0].founder;
  }

  /** Number of points that left the window. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Adds a noise with its reward; the first one is the founder. */
  add(point: Elite): void {
    if (this.#points.length >= this.#maxPoints) this.#dropEarliest();
    const noise = projectToShell(point.noise);
    const row = this.#points.map((known) => cosineOnShell(known.noise, noise));
    this.#appendCosines(row);
    this.#factor.add(row);
    this.#points.push({ ...point, noise });
    this.#optimum = null;
    this.#centre = null;
  }

  /**
   * Leaves the best point and the latest ones, and builds the factor anew: O(n^3) / 3, for every
   * n / 4 points.
   */
  #dropEarliest(): void {
    const [points, cosines, best] = [this.#points, this.#cosines, this.#bestIndex()];
    const kept = Math.max(1, Math.floor(SHARE_KEPT * points.length));
    const first = points.length - kept;
    const indices = Array.from({ length: kept }, (_, i) => first + i);
    if (best < first) indices[0] = best;
    this.#dropped += first;
    this.#points = indices.map((i) => points[i]);
    this.#cosines = [];
    this.#factor = new CholeskyFactor(this.#kernel);
    for (const [count, i] of indices.entries()) {
      const row = indices.slice(0, count).map((j) => cosines[i][j]);
      this.#appendCosines(row);
      this.#factor.add(row);
    }
  }

  #bestIndex(): number {
    const rewards = this.#points.map(({ reward }) => reward);
    return rewards.indexOf(Math.max(...rewards));
  }

  /**
   * Grows the matrix by a row and a column. The capacity doubles when it is used up, so a point
   * costs O(n) on average.
   */
  #appendCosines(row: readonly number[]): void {
    const count = row.length;
    const capacity = this.#cosines[0]?.length ?? 0;
    const required = count < capacity ? capacity : Math.max(INITIAL_CAPACITY, 2 * capacity);
    if (required > capacity) {
      for (const [i, known] of this.#cosines.entries()) {
        this.#cosines[i] = new Float64Array(required);
        this.#cosines[i].set(known);
      }
    }
    for (let i = 0; i < count; i++) this.#cosines[i][count] = row[i];
    const added = new Float64Array(required);
    added.set(row);
    added[count] = 1;
    this.#cosines.push(added);
  }

  /**
   * The noise on the shell with the highest expected reward, around which the next proposals lie.
   */
  centre(scale: RewardScale): Float32Array {
    this.#centre ??= this.#combine(this.#findOptimum(scale).coefficients);
    return this.#centre;
  }

  /**
   * The noise at which the learned distribution is anchored: on the shell, between the optimum and
   * the best point. The optimum alone was never evaluated, and its expected reward, the highest of
   * very many, is too high. The best point alone may owe its reward to luck that its neighbours do
   * not share.
   *
   * @param trust weight of the optimum, 0 to 1; the best point has the rest
   */
  anchor(scale: RewardScale, trust: number): Float32Array {
    const coefficients = this.#findOptimum(scale).coefficients.map((coefficient) => trust * coefficient);
    coefficients[this.#bestIndex()] += 1 - trust;
    return this.#combine(coefficients);
  }

  /** Expected reward at the centre, in the units of the rewards. */
  expected(scale: RewardScale): number {
    return scale.mean + scale.deviation * this.#findOptimum(scale).expected;
  }

  /** The checkpoint of the points, as `packElites` makes it. */
  state(d: number) {
    return packElites(this.#points, d);
  }

  /**
   * The lineage of a checkpoint. One that an earlier release stored may have more than `maxPoints`
   * points; the earliest are dropped.
   */
  static restore(
    values: unknown,
    noises: ArrayLike<number> | undefined,
    d: number,
    ...parameters: ConstructorParameters<typeof Lineage>
  ): Lineage {
    const lineage = new Lineage(...parameters);
    for (const point of unpackElites(values, noises, d)) lineage.add(point);
    return lineage;
  }

  #findOptimum({ mean, deviation }: RewardScale): Optimum {
    if (this.#optimum) return this.#optimum;
    const rewards = this.#points.map(({ reward }) => (reward - mean) / deviation);
    const cosines = this.#cosines.map((row) => row.subarray(0, rewards.length));
    const process = new GaussianProcess(this.#kernel, cosines, rewards, this.#factor);
    const predictions = cosines.map((row) => process.predict(row));
    this.#optimum = process.climb(predictions.indexOf(Math.max(...predictions)));
    return this.#optimum;
  }

  #combine(coefficients: Float64Array): Float32Array {
    return projectToShell(combine(coefficients, this.#points));
  }
}

/** Cosine of two noises whose norm is sqrt(d). */
const cosineOnShell = (a: Float32Array, b: Float32Array): number => dot(a, b) / a.length;

/**
 * sum_i coefficients[i] * points[i], d numbers, four points at a time: a pass over the sum costs as
 * much as one over a point.
 */
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
