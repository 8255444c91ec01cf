import type { NoiseKey } from '../core/noise.ts';
import { philox4x32 } from './philox.ts';

/**
 * What the numbers at one key are for. Lanes keep them apart, so the noise added at a denoising step, say, is
 * independent of the initial noise with the same address.
 */
export const LANES = {
  /** The initial noise z_T, or the eps that a distribution pushes through. */
  initialNoise: 0,
  /** Which component of a mixture. */
  component: 1,
  /** An optimizer's choice of a parent, a founder or a pivot. */
  choice: 2,
  /** Its second such choice, as for crossover. */
  secondChoice: 3,
  /** Whether or how strongly an optimizer mutates or mixes. */
  mutation: 4,
  /** Initial weights of networks. */
  weights: 5,
  /** Noise of step 0; step i has lane `stepNoise + i`, see `stepNoiseLane`. Later lanes are taken. */
  stepNoise: 16,
} as const;

const MAX_WORD = 2 ** 32 - 1;
const TWO_POW_32 = 2 ** 32;

function checkWord(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 0 || value > MAX_WORD) {
    throw new RangeError(`${name} is ${value}; it must be an integer from 0 to ${MAX_WORD} (2^32 - 1).`);
  }
}

/** Throws a RangeError unless all three integers of the address are in their ranges (see `Draw`). */
export function checkNoiseKey(key: NoiseKey): void {
  if (!Number.isSafeInteger(key.seed) || key.seed < 0) {
    throw new RangeError(
      `seed is ${key.seed}; it must be an integer from 0 to ${Number.MAX_SAFE_INTEGER} (2^53 - 1).`,
    );
  }
  checkWord('stream', key.stream);
  checkWord('index', key.index);
}

/** The lane of the noise that a stochastic scheduler adds at step `step` (integer >= 0). */
export function stepNoiseLane(step: number): number {
  const lane = LANES.stepNoise + step;
  if (!Number.isInteger(step) || step < 0 || lane > MAX_WORD) {
    throw new RangeError(`step is ${step}; it must be an integer from 0 to ${MAX_WORD - LANES.stepNoise}.`);
  }
  return lane;
}

/**
 * `length` independent N(0, 1) numbers: a pure function of (key, lane), made by Philox 4x32-10 with counter
 * [block, index, stream, lane] and key [low 32 bits, high 21 bits] of the seed, then Box and Muller's transform ("A note
 * on the generation of random normal deviates", 1958) in float64, rounded to float32. Four numbers a block.
 *
 * Element i depends on (key, lane, i) alone: a shorter noise is the beginning of a longer one.
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
      // Writes beyond the end of a typed array are ignored, which cuts the last block.
      noise[first + pair] = radius * Math.cos(angle);
      noise[first + pair + 1] = radius * Math.sin(angle);
    }
  }
  return noise;
}

/** One uniform number in [0, 1) with 53 random bits: a pure function of (draw, lane). */
export function uniform(key: NoiseKey, lane: number): number {
  checkNoiseKey(key);
  checkWord('lane', lane);
  const words = new Uint32Array(4);
  philox4x32(0, key.index, key.stream, lane, key.seed % TWO_POW_32, Math.floor(key.seed / TWO_POW_32), words);
  return ((words[0] >>> 5) * 2 ** 26 + (words[1] >>> 6)) / 2 ** 53;
}
