/** Milliseconds after which an attempt counts as slow. */
const SLOW = 2_000;
/** Slow attempts to one host at a time; while there are so many, its other deliveries wait elsewhere. */
const MOST_SLOW = 8;

/**
 * Attempts under way in this process, by host: a receiver that lets them wait for its answer must not take all places, or
 * nobody else would be told anything.
 */
export class Lanes {
  readonly #began = new Map<string, Set<{ readonly at: number }>>();
  readonly #now: () => number;

  /** @param now milliseconds, of any clock that does not jump */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Begins an attempt; call what it returns at its end. null: its host is slow, come again later. */
  enter(host: string): (() => void) | null {
    const attempts = this.#began.get(host) ?? new Set();
    const slow = [...attempts].filter(({ at }) => this.#now() - at > SLOW).length;
    if (slow >= MOST_SLOW) return null;
    const attempt = { at: this.#now() };
    this.#began.set(host, attempts.add(attempt));
    return () => {
      attempts.delete(attempt);
      if (attempts.size === 0) this.#began.delete(host);
    };
  }
}
