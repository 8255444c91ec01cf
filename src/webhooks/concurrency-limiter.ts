/** Milliseconds after which an attempt counts as slow. */
const SLOW = 2_000;
/** Slow attempts of a tenant to one host at a time; while there are so many, its other deliveries there wait elsewhere. */
const MOST_SLOW = 8;
/** Attempts of a tenant to one host at a time, and to all hosts: of the places of a process others always find some. */
const MOST = { toHost: 16, ofTenant: 32 } as const;
/** Milliseconds that a delivery waits in its place for room: receivers that answer at once are never held back. */
const PATIENCE = 500;

interface Attempt {
  readonly tenant: string;
  readonly host: string;
  readonly at: number;
}

/**
 * Attempts under way in this process, by tenant and host: neither a receiver that lets them wait for its answer nor a tenant
 * with many such receivers may take all places, or nobody else would be told anything.
 */
export class ConcurrencyLimiter {
  readonly #attempts = new Set<Attempt>();
  readonly #waiting = new Set<() => void>();
  readonly #now: () => number;
  readonly #patience: number;

  /**
   * @param now milliseconds, of any clock that does not jump
   * @param patience milliseconds that `enter` waits for room
   */
  constructor(now: () => number = () => performance.now(), patience = PATIENCE) {
    this.#now = now;
    this.#patience = patience;
  }

  /** Begins an attempt; call what it gives at its end. `slow`: its host is to be spared; `full`: the tenant has enough under way. */
  async enter(tenant: string, host: string): Promise<(() => void) | 'slow' | 'full'> {
    const end = performance.now() + this.#patience;
    for (;;) {
      const own = [...this.#attempts].filter((each) => each.tenant === tenant);
      const there = own.filter((each) => each.host === host);
      if (there.filter(({ at }) => this.#now() - at > SLOW).length >= MOST_SLOW) return 'slow';
      if (there.length < MOST.toHost && own.length < MOST.ofTenant)
        return this.#begin({ tenant, host, at: this.#now() });
      const left = end - performance.now();
      if (left <= 0) return 'full';
      await this.#someEnd(left);
    }
  }

  #begin(attempt: Attempt): () => void {
    this.#attempts.add(attempt);
    return () => {
      this.#attempts.delete(attempt);
      for (const wake of this.#waiting) wake();
    };
  }

  /** Resolves when an attempt ends, after so many milliseconds at the latest. */
  async #someEnd(milliseconds: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, milliseconds);
      this.#waiting.add(wake);
    });
  }
}
