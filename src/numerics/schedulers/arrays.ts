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

/**
 * The weighted sum of one to five arrays, in float64 in their order, rounded once.
 * @param into array for the result; it may be one of `arrays`
 * @returns `into`
 * @throws RangeError for another number of arrays
 */
export function weightedSum<T extends Float32Array>(
  weights: readonly number[],
  arrays: readonly Float32Array[],
  into: T,
): T {
  const [u, v, w, x, y] = weights;
  const [a, b, c, d, e] = arrays;
  const { length } = into;
  // A loop for each number: a loop over the arrays inside takes twice as long.
  switch (weights.length) {
    case 1:
      for (let i = 0; i < length; i++) into[i] = u * a[i];
      return into;
    case 2:
      for (let i = 0; i < length; i++) into[i] = u * a[i] + v * b[i];
      return into;
    case 3:
      for (let i = 0; i < length; i++) into[i] = u * a[i] + v * b[i] + w * c[i];
      return into;
    case 4:
      for (let i = 0; i < length; i++) into[i] = u * a[i] + v * b[i] + w * c[i] + x * d[i];
      return into;
    case 5:
      for (let i = 0; i < length; i++) into[i] = u * a[i] + v * b[i] + w * c[i] + x * d[i] + y * e[i];
      return into;
    default:
      throw new RangeError(`${weights.length} arrays can't be summed; 1 to 5 can.`);
  }
}
