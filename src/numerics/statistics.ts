/** Standard deviations after which `gaussianSmooth` truncates its kernel; scipy's default. */
const KERNEL_REACH = 4;

/**
 * Arithmetic mean.
 * @throws RangeError for no values
 */
export function mean(values: ArrayLike<number>): number {
  checkCount(values, 1, 'a mean');
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/**
 * Standard deviation with the denominator n - 1.
 * @throws RangeError for fewer than two values
 */
export function sampleStandardDeviation(values: ArrayLike<number>): number {
  checkCount(values, 2, 'a sample standard deviation');
  const centre = mean(values);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i] - centre) ** 2;
  return Math.sqrt(sum / (values.length - 1));
}

/**
 * Standard error of the mean: `sampleStandardDeviation` / sqrt(n).
 * @throws RangeError for fewer than two values
 */
export function standardError(values: ArrayLike<number>): number {
  return sampleStandardDeviation(values) / Math.sqrt(values.length);
}

/**
 * Quantile with linear interpolation between neighbours: numpy's default, type 7 of Hyndman and Fan
 * 1996.
 *
 * @param share in [0, 1]; 0.5 gives the median
 * @throws RangeError for no values or a share out of range
 */
export function quantile(values: ArrayLike<number>, share: number): number {
  checkCount(values, 1, 'a quantile');
  if (!(share >= 0 && share <= 1))
    throw new RangeError(`The share of a quantile is ${share}; it must be from 0 to 1.`);
  const sorted = Float64Array.from(values).sort();
  const position = share * (sorted.length - 1);
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
}

/**
 * Convolution with a Gaussian, as scipy.ndimage.gaussian_filter1d computes it with its defaults:
 * the kernel is truncated at 4 sigma, and the values are mirrored at both ends, d c b a | a b c d |
 * d c b a. FIND's figures show the rewards of the iterations smoothed in this way.
 *
 * @param sigma standard deviation in positions, >= 0; 0 returns the values unchanged
 * @returns as many values as given
 * @throws RangeError for a negative or infinite sigma
 */
export function gaussianSmooth(values: ArrayLike<number>, sigma: number): number[] {
  return Array.from({ length: values.length }, gaussianSmoother(values, sigma));
}

/**
 * `gaussianSmooth` value by value, for a caller that smooths many values in several steps. A value
 * takes 8 sigma multiplications.
 * @returns a function whose second argument is the position; the first one is not used
 * @throws RangeError for a negative or infinite sigma
 */
export function gaussianSmoother(
  values: ArrayLike<number>,
  sigma: number,
): (unused: unknown, position: number) => number {
  if (!(sigma >= 0 && Number.isFinite(sigma)))
    throw new RangeError(`sigma is ${sigma}; it must be a finite number >= 0.`);
  const count = values.length;
  const reach = Math.floor(KERNEL_REACH * sigma + 0.5);
  const kernel = Array.from({ length: reach + 1 }, (_, offset) =>
    offset === 0 ? 1 : Math.exp(-0.5 * (offset / sigma) ** 2),
  );
  const total = kernel.reduce((sum, weight, offset) => sum + (offset === 0 ? weight : 2 * weight), 0);
  return (_, position) => {
    let sum = 0;
    for (let offset = -reach; offset <= reach; offset++) {
      const i = position + offset;
      sum += kernel[Math.abs(offset)] * values[i >= 0 && i < count ? i : mirror(i, count)];
    }
    return sum / total;
  };
}

/**
 * Mean Euclidean distance over all pairs of vectors.
 * @throws RangeError for fewer than two vectors or vectors of different lengths
 */
export function meanPairwiseDistance(vectors: readonly ArrayLike<number>[]): number {
  checkCount(vectors, 2, 'a mean pairwise distance');
  const length = vectors[0].length;
  const other = vectors.find((vector) => vector.length !== length);
  if (other !== undefined) {
    throw new RangeError(
      `The vectors have ${length} and ${other.length} numbers; all must have the same length.`,
    );
  }
  let sum = 0;
  for (let a = 1; a < vectors.length; a++) {
    for (let b = 0; b < a; b++) {
      let squares = 0;
      for (let i = 0; i < length; i++) squares += (vectors[a][i] - vectors[b][i]) ** 2;
      sum += Math.sqrt(squares);
    }
  }
  return sum / ((vectors.length * (vectors.length - 1)) / 2);
}

/**
 * ||z|| / sqrt(d) of d values: 1 +- 1 / sqrt(2 d) for a noise from N(0, I).
 * @throws RangeError for no values
 */
export function rootMeanSquare(values: ArrayLike<number>): number {
  checkCount(values, 1, 'a root mean square');
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += values[i] * values[i];
  return Math.sqrt(squares / values.length);
}

/** Maps position `i` into a row of `count` values that repeats, mirrored at each end. */
function mirror(i: number, count: number): number {
  const period = 2 * count;
  const position = ((i % period) + period) % period;
  return position < count ? position : period - 1 - position;
}

function checkCount(values: ArrayLike<unknown>, minimum: number, purpose: string): void {
  if (values.length < minimum) {
    throw new RangeError(`There are ${values.length} values; ${purpose} needs at least ${minimum}.`);
  }
}
