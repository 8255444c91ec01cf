interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

/**
 * The clock of a simulation. Time stands still while anybody works; `advance` moves it on. Sleepers
 * of one tick wake together, as the workers of a fleet do.
 */
export class SimulatedClock {
  readonly #tickSeconds: number;
  /** By tick. */
  readonly #sleepers = new Map<number, Sleeper[]>();
  #now = 0;
  #sleeping = 0;
  #onChange: () => void = () => {};

  constructor(tickSeconds: number) {
    this.#tickSeconds = tickSeconds;
  }

  /** Simulated seconds since the start. */
  get now(): number {
    return this.#now;
  }

  /** Sleeps for simulated seconds. */
  sleep(seconds: number): Promise<void> {
    return new Promise((wake) => {
      const tick = Math.ceil((this.#now + seconds) / this.#tickSeconds);
      const others = this.#sleepers.get(tick) ?? [];
      this.#sleepers.set(tick, others);
      others.push({ at: tick * this.#tickSeconds, wake });
      this.#sleeping++;
      this.#onChange();
    });
  }

  /** Checks the condition of `waitFor` again. */
  notify(): void {
    this.#onChange();
  }

  /**
   * Waits in real time until at least `count()` sleep.
   * @throws Error after `timeoutMs`
   */
  async waitFor(count: () => number, timeoutMs: number): Promise<void> {
    if (this.#sleeping >= count()) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(
      () =>
        reject(
          new Error(`${this.#sleeping} of ${count()} workers evaluate after ${timeoutMs / 1000} seconds`),
        ),
      timeoutMs,
    );
    this.#onChange = () => this.#sleeping >= count() && resolve();
    await promise.finally(() => {
      clearTimeout(timer);
      this.#onChange = () => {};
    });
  }

  /** Moves on to the next tick in which somebody wakes, or to `atMost` if that comes first. */
  advance(atMost = Number.POSITIVE_INFINITY): void {
    let tick = Number.POSITIVE_INFINITY;
    for (const each of this.#sleepers.keys()) tick = Math.min(tick, each);
    if (tick * this.#tickSeconds > atMost) {
      this.#now = atMost;
      return;
    }
    const due = this.#sleepers.get(tick) ?? [];
    this.#sleepers.delete(tick);
    this.#now = tick * this.#tickSeconds;
    this.#sleeping -= due.length;
    for (const { wake } of due) wake();
  }
}
