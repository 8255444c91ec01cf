import { setTimeout as sleep } from 'node:timers/promises';

/** Yields the items of an iteration, possibly with rests between them. */
export type Pace = <T>(items: AsyncIterable<T>) => AsyncIterable<T>;

/** Yields items without rests. */
export const unpaced: Pace = (items) => items;

/** Items between two rests; as many are read from Redis or storage at a time. */
const BATCH_SIZE = 100;
/** Length of a rest as a multiple of the time that the items before it took. */
const REST_FACTOR = 9;
/** Longest rest. Long work mostly waits for storage, which is no load. */
const MAX_REST_MS = 1000;

/**
 * A pace for work beside requests: it works a tenth of the time, so that requests are hardly
 * delayed.
 * @param closing ends the iteration with an AbortError
 */
export function inBackground(closing: AbortSignal): Pace {
  return async function* paced(items) {
    let count = 0;
    let since = performance.now();
    for await (const item of items) {
      yield item;
      if (++count % BATCH_SIZE !== 0) continue;
      const rest = Math.min(MAX_REST_MS, REST_FACTOR * (performance.now() - since));
      await sleep(rest, undefined, { signal: closing });
      since = performance.now();
    }
  };
}
