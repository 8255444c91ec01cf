/** Delays from which a timer is stretched; shorter ones are steps of work that is going on. */
const MIN_DELAY_MS = 1000;

/**
 * Stretches the timers that this process starts from now on: heartbeats and polls of a thousand
 * workers, which have a machine each in reality, would leave no time for their jobs.
 */
export function stretchTimers(factor: number): void {
  const stretch = (ms = 0) => (ms >= MIN_DELAY_MS ? ms * factor : ms);
  const { setTimeout: timeout, setInterval: interval } = globalThis;
  const stretched = {
    setTimeout: (run: () => void, ms?: number, ...args: []) => timeout(run, stretch(ms), ...args),
    setInterval: (run: () => void, ms?: number, ...args: []) => interval(run, stretch(ms), ...args),
  };
  Object.assign(globalThis, stretched);
}
