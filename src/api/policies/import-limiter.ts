import { ProblemError } from '../../contract/problem.ts';

/** Files of the largest size that are received at once, or more of smaller ones. */
const MAX_LARGEST_FILES = { tenant: 2, service: 4 } as const;
const RETRY_AFTER_SECONDS = 2;

/**
 * Limits the bytes of policy files that are received at once, from each tenant and from all: a file
 * is held in memory as a whole. One tenant can't use up what all tenants share.
 */
export class ImportLimiter {
  readonly #maxFileBytes: number;
  /** Bytes of the files that are being received, by tenant. */
  readonly #receiving = new Map<string, number>();
  /** Their sum. */
  #total = 0;

  constructor(maxFileBytes: number) {
    this.#maxFileBytes = maxFileBytes;
  }

  /**
   * Counts a file that begins to arrive.
   * @param contentLength the header; a file without it counts as one of the largest size
   * @returns a function to call when the file has been handled, however that ends; later calls do
   *   nothing
   * @throws ProblemError `rate-limited` when the tenant's limit is reached, `unavailable` when all
   *   tenants together have reached theirs
   */
  start(tenant: string, contentLength: string | undefined): () => void {
    const bytes = Math.min(this.#maxFileBytes, Number(contentLength ?? this.#maxFileBytes));
    const ofTenant = (this.#receiving.get(tenant) ?? 0) + bytes;
    if (ofTenant > MAX_LARGEST_FILES.tenant * this.#maxFileBytes) throw this.#refusal('tenant');
    if (this.#total + bytes > MAX_LARGEST_FILES.service * this.#maxFileBytes) throw this.#refusal('service');
    this.#receiving.set(tenant, ofTenant);
    this.#total += bytes;
    let isCounted = true;
    return () => {
      if (!isCounted) return;
      isCounted = false;
      this.#total -= bytes;
      const left = (this.#receiving.get(tenant) ?? 0) - bytes;
      if (left > 0) this.#receiving.set(tenant, left);
      else this.#receiving.delete(tenant);
    };
  }

  #refusal(reached: keyof typeof MAX_LARGEST_FILES): ProblemError {
    const maxBytes = MAX_LARGEST_FILES[reached] * this.#maxFileBytes;
    const whose = reached === 'tenant' ? 'of a tenant' : 'of all tenants';
    return new ProblemError(
      reached === 'tenant' ? 'rate-limited' : 'unavailable',
      `Policy files ${whose} of up to ${maxBytes} bytes are received at once, and others are on their way. ` +
        'Send this file again when they have arrived.',
      undefined,
      RETRY_AFTER_SECONDS,
    );
  }
}
