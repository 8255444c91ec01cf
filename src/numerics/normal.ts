import type { NoiseKey } from '../core/noise.ts';
import { philox4x32 } from './philox.ts';

/**
 * Lanes of Philox's counter: the fourth counter word, next to the block, the index and the stream
 * of a noise key. Different lanes of one key give independent numbers, so that the noise added at a
 * denoising step, for example, is independent of the initial noise with the same key. Stored seeds
 * depend on these values.
 */
export const LANES = {
  /** The initial noise z_T, or the eps that a distribution maps to a noise. */
  initialNoise: 0,
  /** The uniform number that selects a component of a mixture. */
  component: 1,
  /** The first uniform number by which an optimizer selects, such as one parent of a crossover. */
  choice: 2,
  /** The second such number, such as the other parent. */
  secondChoice: 3,
  /** The strength with which an optimizer mutates or mixes. */
  mutation: 4,
  /** Initial weights of networks. */
  weights: 5,
  /** Noise of denoising step 0; step i has lane `stepNoise + i`, so all later lanes are taken. */
  stepNoise: 16,
} as const;

const MAX_WORD = 2 ** 32 - 1;
const TWO_POW_32 = 2 ** 32;

function checkWord(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 0 || value > MAX_WORD) {
    throw new RangeError(`${name} is ${value}; it must be an integer from 0 to ${MAX_WORD} (2^32 - 1).`);
  }
}

/**
 * @throws RangeError unless all three integers of the key are in the ranges that `NoiseKey`
 * documents
 */
export function checkNoiseKey(key: NoiseKey): void {
  if (!Number.isSafeInteger(key.seed) || key.seed < 0) {
    throw new RangeError(
      `seed is ${key.seed}; it must be an integer from 0 to ${Number.MAX_SAFE_INTEGER} (2^53 - 1).`,
    );
  }
  checkWord('stream', key.stream);
  checkWord('index', key.index);
}

/**
 * The lane of the noise that a stochastic scheduler adds at a denoising step.
 * @param step integer >= 0
 * @throws RangeError for any other step
 */
export function stepNoiseLane(step: number): number {
  const lane = LANES.stepNoise + step;
  if (!Number.isInteger(step) || step < 0 || lane > MAX_WORD) {
    throw new RangeError(`step is ${step}; it must be an integer from 0 to ${MAX_WORD - LANES.stepNoise}.`);
  }
  return lane;
}

/**
 * `length` independent N(0, 1) numbers, a pure function of (key, lane): Philox 4x32-10 with the
 * counter [block, index, stream, lane] and the key [low 32 bits, high 21 bits] of the seed, then
 * the transform of Box and Muller ("A note on the generation of random normal deviates", 1958) in
 * float64, rounded to float32. A block gives four numbers.
 *
 * Element i depends on (key, lane, i) only: a shorter noise is the beginning of a longer one.
 *
 * @throws RangeError for a key, length or lane out of range
 */
export function standardNormal(
  key: NoiseKey,
  length: number,
  lane: number = LANES.initialNoise,
): Float32Array {
  checkNoiseKey(key);
  checkWord('lane', lane);
  checkWord('length', length);
  const { seed, stream, index } = key;
  const keyHigh = Math.floor(seed / TWO_POW_32);
  const noise = new Float32Array(length);
  const words = new Uint32Array(4);
  for (let first = 0; first < length; first += 4) {
    philox4x32(first / 4, index, stream, lane, seed % TWO_POW_32, keyHigh, words);
    for (let pair = 0; pair < 4; pair += 2) {
      // The half keeps the uniform number inside (0, 1), so its logarithm is finite.
      const radius = Math.sqrt(-2 * Math.log((words[pair] + 0.5) / TWO_POW_32));
      const angle = (2 * Math.PI * words[pair + 1]) / TWO_POW_32;
      // Typed arrays ignore writes beyond their end, which cuts the last block.
      noise[first + pair] = radius * Math.cos(angle);
      noise[first + pair + 1] = radius * Math.sin(angle);
    }
  }
  return noise;
}

/**
 * One uniform number in [0, 1) with 53 random bits, a pure function of (key, lane).
 * @throws RangeError for a key or lane out of range
 */
export function uniform(key: NoiseKey, lane: number): number {
  checkNoiseKey(key);
  checkWord('lane', lane);
  const words = new Uint32Array(4);
  philox4x32(0, key.index, key.stream, lane, key.seed % TWO_POW_32, Math.floor(key.seed / TWO_POW_32), words);
  return ((words[0] >>> 5) * 2 ** 26 + (words[1] >>> 6)) / 2 ** 53;
}
