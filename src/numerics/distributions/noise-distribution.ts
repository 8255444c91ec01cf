/**
 * A distribution of the initial noise: a mixture of K Gaussians with diagonal covariance over
 * latents of any shape. Component k has probability `weights[k]`; its noises are
 * z = mean_k + std_k * eps with eps ~ N(0, I).
 *
 * K = 1 is FIND's policy pi_theta (Chen et al. 2024, section 3). A component anchored at a good
 * noise z_k has mean c * z_k and std sqrt(1 - c^2): its samples keep the norm that the model was
 * trained on.
 */
export interface NoiseDistribution {
  /** Shape of one latent without the batch axis, such as [4, 64, 64]; any rank. */
  readonly shape: readonly number[];
  /** Means: K * d numbers, component by component; d is the product of `shape`. */
  readonly mean: Float32Array;
  /** Standard deviations, > 0: K numbers (one per component) or K * d. */
  readonly std: Float32Array;
  /** K weights, >= 0, whose sum is 1. */
  readonly weights: Float32Array;
}

/** Largest distance from 1 that float32 rounding of the weights may give their sum. */
const WEIGHT_TOLERANCE = 1e-5;

/**
 * The number of values d of a latent of this shape: the product of its sizes.
 * @throws RangeError for sizes that are not integers >= 1, or no sizes
 */
export function dimension(shape: readonly number[]): number {
  if (shape.length === 0 || shape.some((size) => !Number.isInteger(size) || size < 1)) {
    throw new RangeError(
      `The shape is [${shape.join(', ')}]; it must have at least one size, all integers >= 1.`,
    );
  }
  return shape.reduce((product, size) => product * size, 1);
}

/** The name of a distribution for users: `gaussian` with one component, `mixture` with more. */
export function distributionKind(distribution: NoiseDistribution): 'gaussian' | 'mixture' {
  return distribution.weights.length === 1 ? 'gaussian' : 'mixture';
}

/**
 * Checks the lengths and ranges that `NoiseDistribution` documents. The sum of the weights may
 * differ from 1 by up to 1e-5.
 * @throws RangeError that names the first wrong value
 */
export function checkDistribution(distribution: NoiseDistribution): void {
  const { shape, mean, std, weights } = distribution;
  const d = dimension(shape);
  const components = weights.length;
  if (components === 0)
    throw new RangeError('The distribution has no weights; it needs one per component, at least one.');
  if (mean.length !== components * d) {
    throw new RangeError(
      `The distribution has ${mean.length} means; ` +
        `${components} component(s) of shape [${shape.join(', ')}] need ${components * d}.`,
    );
  }
  if (std.length !== components && std.length !== components * d) {
    throw new RangeError(
      `The distribution has ${std.length} standard deviations; ` +
        `it needs ${components} (one per component) or ${components * d} (one per number).`,
    );
  }
  const wrongMean = findIndex(mean, (value) => !Number.isFinite(value));
  if (wrongMean >= 0) throw new RangeError(`mean[${wrongMean}] is ${mean[wrongMean]}; means must be finite.`);
  const wrongStd = findIndex(std, (value) => !(value > 0 && Number.isFinite(value)));
  if (wrongStd >= 0) {
    throw new RangeError(`std[${wrongStd}] is ${std[wrongStd]}; standard deviations must be finite and > 0.`);
  }
  const wrongWeight = findIndex(weights, (value) => !(value >= 0 && Number.isFinite(value)));
  if (wrongWeight >= 0) {
    throw new RangeError(
      `weights[${wrongWeight}] is ${weights[wrongWeight]}; weights must be finite and >= 0.`,
    );
  }
  const sum = weights.reduce((total, weight) => total + weight, 0);
  if (Math.abs(sum - 1) > WEIGHT_TOLERANCE)
    throw new RangeError(`The weights sum to ${sum}; they must sum to 1.`);
}

/**
 * A plain loop: several times as fast as `findIndex` of typed arrays, which matters for K * d
 * values.
 */
function findIndex(values: Float32Array, isWrong: (value: number) => boolean): number {
  for (let i = 0; i < values.length; i++) {
    if (isWrong(values[i])) return i;
  }
  return -1;
}
