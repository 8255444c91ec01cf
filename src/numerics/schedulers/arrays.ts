/**
 * An array for intermediate values: allocated at the first call, and again only for another length.
 * Each call returns the same array, with whatever it holds.
 */
export type Scratch = (length: number) => Float32Array<ArrayBuffer>;

/** A scratch array of its own. */
export function createScratch(): Scratch {
  let array = new Float32Array();
  return (length) => {
    if (array.length !== length) array = new Float32Array(length);
    return array;
  };
}

/**
 * The latest outputs of a multistep method, newest first. The arrays go round: one that is no
 * longer among the latest is written again.
 */
export class History {
  readonly #limit: number;
  #latest: Float32Array<ArrayBuffer>[] = [];
  #free: Float32Array<ArrayBuffer> | undefined;

  /** @param limit maximum number of outputs */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The outputs, newest first. */
  get latest(): readonly Float32Array<ArrayBuffer>[] {
    return this.#latest;
  }

  /** An array for the next output, which is none of the latest. */
  next(length: number): Float32Array<ArrayBuffer> {
    if (this.#free?.length !== length) this.#free = new Float32Array(length);
    return this.#free;
  }

  /** Makes the array that `next` returned the newest output. */
  push(): void {
    if (this.#free === undefined) throw new Error('push follows next.');
    this.#latest.unshift(this.#free);
    this.#free = this.#latest.length > this.#limit ? this.#latest.pop() : undefined;
  }
}

/** Numbers that are summed at a time, few enough for a cache. */
const BLOCK = 2048;
const sums = new Float64Array(BLOCK);

/**
 * The weighted sum of arrays, in float64 in their order, rounded once.
 * @param into array for the result; it may be one of `arrays`
 * @returns `into`
 */
export function weightedSum<T extends Float32Array>(
  weights: readonly number[],
  arrays: readonly Float32Array[],
  into: T,
): T {
  for (let start = 0; start < into.length; start += BLOCK) {
    const length = Math.min(BLOCK, into.length - start);
    for (let k = 0; k < weights.length; k++) {
      const weight = weights[k];
      const array = arrays[k];
      if (k === 0) for (let i = 0; i < length; i++) sums[i] = weight * array[start + i];
      else for (let i = 0; i < length; i++) sums[i] += weight * array[start + i];
    }
    for (let i = 0; i < length; i++) into[start + i] = sums[i];
  }
  return into;
}
