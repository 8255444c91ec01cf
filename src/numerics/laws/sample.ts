import type { Draw } from '../draw.ts';
import { LANES, standardNormal, uniform } from '../normal.ts';
import { dimension } from './check.ts';
import type { Law } from './law.ts';

/**
 * z = mean_k + std_k * eps: the noise of `law` that standard normal numbers and a uniform one stand for. Pure; the same
 * (eps, u) through two laws gives a pair of noises that are as alike as the laws are.
 *
 * @param eps d standard normal numbers
 * @param u in [0, 1): chooses component k, the first at which the weights' running sum exceeds u
 */
export function pushThrough(law: Law, eps: Float32Array, u: number): Float32Array {
  const d = dimension(law.shape);
  if (eps.length !== d) {
    throw new RangeError(`eps has ${eps.length} numbers; a law of shape [${law.shape.join(', ')}] needs ${d}.`);
  }
  if (!(u >= 0 && u < 1)) throw new RangeError(`u is ${u}; it must be in [0, 1).`);
  const { mean, std } = law;
  const offset = chooseComponent(law.weights, u) * d;
  const isScalar = std.length === law.weights.length && std.length !== mean.length;
  const noise = new Float32Array(d);
  for (let i = 0; i < d; i++) {
    noise[i] = mean[offset + i] + std[isScalar ? offset / d : offset + i] * eps[i];
  }
  return noise;
}

/**
 * The noise of `law` at an address: eps is the N(0, I) noise there, so the same draw of two laws shares its eps; for
 * the standard law the result is that very noise.
 */
export function sampleLaw(law: Law, draw: Draw): Float32Array {
  return pushThrough(law, standardNormal(draw, dimension(law.shape)), uniform(draw, LANES.component));
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
