import type { NoiseKey } from '../../core/noise.ts';
import { LANES, standardNormal, uniform } from '../normal.ts';
import { dimension } from './check.ts';
import type { NoiseDistribution } from './noise-distribution.ts';

/**
 * z = mean_k + std_k * eps: the noise of `distribution` that standard normal numbers and a uniform one stand for. Pure; the same
 * (eps, u) through two distributions gives a pair of noises that are as alike as the distributions are.
 *
 * @param eps d standard normal numbers
 * @param u in [0, 1): chooses component k, the first at which the weights' running sum exceeds u
 */
export function reparameterize(distribution: NoiseDistribution, eps: Float32Array, u: number): Float32Array {
  const d = dimension(distribution.shape);
  if (eps.length !== d) {
    throw new RangeError(
      `eps has ${eps.length} numbers; a distribution of shape [${distribution.shape.join(', ')}] needs ${d}.`,
    );
  }
  if (!(u >= 0 && u < 1)) throw new RangeError(`u is ${u}; it must be in [0, 1).`);
  const { mean, std } = distribution;
  const offset = chooseComponent(distribution.weights, u) * d;
  const isScalar = std.length === distribution.weights.length && std.length !== mean.length;
  const noise = new Float32Array(d);
  for (let i = 0; i < d; i++) {
    noise[i] = mean[offset + i] + std[isScalar ? offset / d : offset + i] * eps[i];
  }
  return noise;
}

/**
 * The noise of `distribution` at an address: eps is the N(0, I) noise there, so the same key of two distributions shares its eps; for
 * the standard distribution the result is that very noise.
 */
export function sampleNoise(distribution: NoiseDistribution, key: NoiseKey): Float32Array {
  return reparameterize(
    distribution,
    standardNormal(key, dimension(distribution.shape)),
    uniform(key, LANES.component),
  );
}

function chooseComponent(weights: Float32Array, u: number): number {
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
