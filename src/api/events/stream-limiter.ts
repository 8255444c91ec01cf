import { ProblemError } from '../../contract/problem.ts';

const RETRY_AFTER_SECONDS = 15;

/** Limits the event streams that each key has open in this process at a time. */
export class StreamLimiter {
  readonly #max: number;
  readonly #open = new Map<string, number>();

  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Counts a stream.
   * @param keyId null: there are no keys, and no limit
   * @returns a function to call once, when the stream has ended
   * @throws ProblemError `rate-limited` when the key has as many streams already
   */
  start(keyId: string | null): () => void {
    if (keyId === null) return () => {};
    const open = this.#open.get(keyId) ?? 0;
    if (open >= this.#max)
      throw new ProblemError(
        'rate-limited',
        `This key follows ${open} jobs already; at most ${this.#max} are followed at a time. ` +
          'Close streams, or ask for webhooks.',
        undefined,
        RETRY_AFTER_SECONDS,
      );
    this.#open.set(keyId, open + 1);
    return () => {
      const left = (this.#open.get(keyId) ?? 0) - 1;
      if (left > 0) this.#open.set(keyId, left);
      else this.#open.delete(keyId);
    };
  }
}
