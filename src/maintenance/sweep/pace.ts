import { setTimeout as sleep } from 'node:timers/promises';

/** Passes on what comes, in its own time. */
export type Pace = <T>(items: AsyncIterable<T>) => AsyncIterable<T>;

/** As fast as they come. */
export const atOnce: Pace = (items) => items;

/** Items between two rests: as many as are fetched together. */
const AT_A_TIME = 100;
/** How many times as long as the work before it a rest is, and milliseconds that it takes at most: what waits for storage is no load. */
const REST = 9;
const LONGEST_REST = 1000;

/**
 * For work beside requests: a tenth of the time, so that they hardly wait for it.
 * @param closing ends it: what goes through the items meets an AbortError
 */
export function beside(closing: AbortSignal): Pace {
  return async function* paced(items) {
    let count = 0;
    let since = performance.now();
    for await (const item of items) {
      yield item;
      if (++count % AT_A_TIME !== 0) continue;
      const rest = Math.min(LONGEST_REST, REST * (performance.now() - since));
      await sleep(rest, undefined, { signal: closing });
      since = performance.now();
    }
  };
}
