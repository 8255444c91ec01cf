/** An attempt is slow when it takes longer. */
const SLOW_AFTER_MS = 2_000;
/**
 * At most this many slow attempts of a tenant to one host. Beyond it, every further attempt of the
 * tenant to the host is postponed.
 */
const MAX_SLOW = 8;
/** Attempts of a tenant to one host at the same time. */
const MAX_PER_HOST = 16;
/**
 * Attempts of a tenant to all hosts at the same time. It leaves free places in the process for
 * other tenants.
 */
const MAX_PER_TENANT = 32;
/** How long `acquire` waits for a free place. Receivers that answer quickly free one in time. */
const MAX_WAIT_MS = 500;

interface Attempt {
  readonly tenant: string;
  readonly host: string;
  /** When it began, in the limiter's clock. */
  readonly at: number;
}

/**
 * Limits the delivery attempts of this process by tenant and host. Neither a receiver that answers
 * slowly nor a tenant with many such receivers may hold back the deliveries of others.
 */
export class ConcurrencyLimiter {
  readonly #attempts = new Set<Attempt>();
  readonly #waiting = new Set<() => void>();
  readonly #now: () => number;
  readonly #maxWait: number;

  /**
   * @param now milliseconds of a monotonic clock
   * @param maxWait milliseconds that `acquire` waits for a free place
   */
  constructor(now: () => number = () => performance.now(), maxWait = MAX_WAIT_MS) {
    this.#now = now;
    this.#maxWait = maxWait;
  }

  /**
   * Begins an attempt.
   * @returns a function to call at its end; 'slow' when the host has too many slow attempts of the
   *   tenant; 'full' when the tenant has no free place within `maxWait`
   */
  async acquire(tenant: string, host: string): Promise<(() => void) | 'slow' | 'full'> {
    const deadline = performance.now() + this.#maxWait;
    for (;;) {
      const ofTenant = [...this.#attempts].filter((each) => each.tenant === tenant);
      const toHost = ofTenant.filter((each) => each.host === host);
      if (toHost.filter(({ at }) => this.#now() - at > SLOW_AFTER_MS).length >= MAX_SLOW) return 'slow';
      if (toHost.length < MAX_PER_HOST && ofTenant.length < MAX_PER_TENANT)
        return this.#begin({ tenant, host, at: this.#now() });
      const left = deadline - performance.now();
      if (left <= 0) return 'full';
      await this.#nextEnd(left);
    }
  }

  #begin(attempt: Attempt): () => void {
    this.#attempts.add(attempt);
    return () => {
      this.#attempts.delete(attempt);
      for (const wake of this.#waiting) wake();
    };
  }

  /** Resolves when an attempt ends, or after `timeout` milliseconds. */
  async #nextEnd(timeout: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, timeout);
      this.#waiting.add(wake);
    });
  }
}
