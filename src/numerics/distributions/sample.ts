import type { NoiseKey } from '../../core/noise.ts';
import { LANES, standardNormal, uniform } from '../normal.ts';
import { dimension, type NoiseDistribution } from './noise-distribution.ts';

/**
 * Maps standard normal numbers to a noise of `distribution`: z = mean_k + std_k * eps. Pure: the
 * same (eps, u) gives a pair of comparable noises in two distributions.
 *
 * @param eps d standard normal numbers
 * @param u in [0, 1): selects the first component k at which the running sum of the weights exceeds
 *   u
 * @returns d numbers
 * @throws RangeError for another length of `eps` or a `u` out of range
 */
export function reparameterize(distribution: NoiseDistribution, eps: Float32Array, u: number): Float32Array {
  const d = dimension(distribution.shape);
  if (eps.length !== d) {
    throw new RangeError(
      `eps has ${eps.length} numbers; ` +
        `a distribution of shape [${distribution.shape.join(', ')}] needs ${d}.`,
    );
  }
  if (!(u >= 0 && u < 1)) throw new RangeError(`u is ${u}; it must be in [0, 1).`);
  const { mean, std } = distribution;
  const offset = selectComponent(distribution.weights, u) * d;
  const isScalar = std.length === distribution.weights.length && std.length !== mean.length;
  const noise = new Float32Array(d);
  for (let i = 0; i < d; i++) {
    noise[i] = mean[offset + i] + std[isScalar ? offset / d : offset + i] * eps[i];
  }
  return noise;
}

/**
 * Samples the noise of `distribution` at `key`: d numbers. The same key gives the same eps in every
 * distribution; in N(0, I) it gives `standardNormal(key, d)`.
 */
export function sampleNoise(distribution: NoiseDistribution, key: NoiseKey): Float32Array {
  return reparameterize(
    distribution,
    standardNormal(key, dimension(distribution.shape)),
    uniform(key, LANES.component),
  );
}

function selectComponent(weights: Float32Array, u: number): number {
  let last = 0;
  let sum = 0;
  for (let k = 0; k < weights.length; k++) {
    if (weights[k] === 0) continue;
    last = k;
    sum += weights[k];
    if (u < sum) return k;
  }
  // Float32 weights may sum to slightly less than 1.
  return last;
}
