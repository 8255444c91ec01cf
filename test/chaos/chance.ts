import { philox4x32 } from '../../src/numerics/philox.ts';

/** Random choices of one seed, always the same ones. */
export class Chance {
  readonly #seed: number;
  #drawn = 0;

  /** @param seed integer in [0, 2^32) */
  constructor(seed: number) {
    this.#seed = seed;
  }

  /** In [0, 1). */
  fraction(): number {
    const words = new Uint32Array(4);
    philox4x32(this.#drawn++, 0, 0, 0, this.#seed, 0, words);
    return words[0] / 2 ** 32;
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.fraction();
  }

  one<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.fraction() * choices.length)];
  }
}
