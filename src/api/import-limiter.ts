import { ProblemError } from '../contract/problem.ts';

/** Files of the largest size that may be on their way from one tenant at a time. */
const MOST_AT_A_TIME = 4;

/** How many bytes of policy files are read at a time: they are whole in memory before anything is known of them. */
export class ImportLimiter {
  readonly #most: number;
  readonly #largest: number;
  readonly #coming = new Map<string, number>();

  /** @param largest bytes of the largest file that is taken */
  constructor(largest: number) {
    this.#largest = largest;
    this.#most = MOST_AT_A_TIME * largest;
  }

  /**
   * Lets a file in. Returns what to call when it is read and done with, however that ends; a second time, it does nothing.
   * @param length what `Content-Length` says; without one, it may be as large as any
   * @throws ProblemError `rate-limited`: as much as may be is on its way already
   */
  enter(tenant: string, length: string | undefined): () => void {
    const bytes = Math.min(this.#largest, Number(length ?? this.#largest));
    const coming = (this.#coming.get(tenant) ?? 0) + bytes;
    if (coming > this.#most)
      throw new ProblemError(
        'rate-limited',
        `${this.#most} bytes of policy files are on their way already, which is the most at a time; send this one when they have arrived.`,
        undefined,
        2,
      );
    this.#coming.set(tenant, coming);
    let isIn = true;
    return () => {
      if (!isIn) return;
      isIn = false;
      const left = (this.#coming.get(tenant) ?? 0) - bytes;
      if (left > 0) this.#coming.set(tenant, left);
      else this.#coming.delete(tenant);
    };
  }
}
