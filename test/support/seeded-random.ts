import { philox4x32 } from '../../src/numerics/philox.ts';

/** Pseudo-random choices that depend only on the seed. */
export class SeededRandom {
  readonly #seed: number;
  #count = 0;

  /** @param seed integer in [0, 2^32) */
  constructor(seed: number) {
    this.#seed = seed;
  }

  /** The next number in [0, 1). */
  next(): number {
    const words = new Uint32Array(4);
    philox4x32(this.#count++, 0, 0, 0, this.#seed, 0, words);
    return words[0] / 2 ** 32;
  }

  /** A number in [low, high). */
  between(low: number, high: number): number {
    return low + (high - low) * this.next();
  }

  /** One of the choices, all equally probable. */
  pick<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.next() * choices.length)];
  }
}
