import { ProblemError } from '../../contract/problem.ts';

/** A tenant may send this many files of the largest size at once, or more of smaller ones. */
const MAX_LARGEST_FILES = 4;
const RETRY_AFTER_SECONDS = 2;

/**
 * Limits the bytes of policy files that each tenant sends at once: a file is held in memory as a
 * whole.
 */
export class ImportLimiter {
  readonly #maxBytes: number;
  readonly #maxFileBytes: number;
  /** Bytes of the files that are being received, by tenant. */
  readonly #receiving = new Map<string, number>();

  constructor(maxFileBytes: number) {
    this.#maxFileBytes = maxFileBytes;
    this.#maxBytes = MAX_LARGEST_FILES * maxFileBytes;
  }

  /**
   * Counts a file that begins to arrive.
   * @param contentLength the header; a file without it counts as one of the largest size
   * @returns a function to call when the file has been handled, however that ends; later calls do
   *   nothing
   * @throws ProblemError `rate-limited` when the tenant's limit is reached
   */
  start(tenant: string, contentLength: string | undefined): () => void {
    const bytes = Math.min(this.#maxFileBytes, Number(contentLength ?? this.#maxFileBytes));
    const total = (this.#receiving.get(tenant) ?? 0) + bytes;
    if (total > this.#maxBytes)
      throw new ProblemError(
        'rate-limited',
        `Policy files of up to ${this.#maxBytes} bytes are received at once, and others are on their way. ` +
          'Send this file again when they have arrived.',
        undefined,
        RETRY_AFTER_SECONDS,
      );
    this.#receiving.set(tenant, total);
    let isCounted = true;
    return () => {
      if (!isCounted) return;
      isCounted = false;
      const left = (this.#receiving.get(tenant) ?? 0) - bytes;
      if (left > 0) this.#receiving.set(tenant, left);
      else this.#receiving.delete(tenant);
    };
  }
}
