import type { NoiseDistribution } from './noise-distribution.ts';

/** How far the float32 weights of a distribution may be from a sum of 1. */
const WEIGHT_TOLERANCE = 1e-5;

/** How many numbers a latent of this shape has: the product of its sizes. Throws a RangeError for sizes that are not integers >= 1. */
export function dimension(shape: readonly number[]): number {
  if (shape.length === 0 || shape.some((size) => !Number.isInteger(size) || size < 1)) {
    throw new RangeError(
      `The shape is [${shape.join(', ')}]; it must have at least one size, all integers >= 1.`,
    );
  }
  return shape.reduce((product, size) => product * size, 1);
}

/** What users call the distribution: one component is a `gaussian` (FIND's policy), more are a `mixture`. */
export function distributionKind(distribution: NoiseDistribution): 'gaussian' | 'mixture' {
  return distribution.weights.length === 1 ? 'gaussian' : 'mixture';
}

function findIndex(values: Float32Array, isWrong: (value: number) => boolean): number {
  for (let i = 0; i < values.length; i++) {
    if (isWrong(values[i])) return i;
  }
  return -1;
}

/**
 * Throws a RangeError that names what is wrong unless `distribution` keeps the promises of `Distribution`: lengths that fit the shape,
 * finite means, finite standard deviations > 0, weights >= 0 with a sum within 1e-5 of 1.
 */
export function checkDistribution(distribution: NoiseDistribution): void {
  const { shape, mean, std, weights } = distribution;
  const d = dimension(shape);
  const components = weights.length;
  if (components === 0)
    throw new RangeError('The distribution has no weights; it needs one per component, at least one.');
  if (mean.length !== components * d) {
    throw new RangeError(
      `The distribution has ${mean.length} means; ${components} component(s) of shape [${shape.join(', ')}] need ${components * d}.`,
    );
  }
  if (std.length !== components && std.length !== components * d) {
    throw new RangeError(
      `The distribution has ${std.length} standard deviations; it needs ${components} (one per component) or ${components * d} (one per number).`,
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
