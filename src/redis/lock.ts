import { randomUUID } from 'node:crypto';
import type { Redis } from './connection.ts';
import { defineScript } from './lua-script.ts';

/**
 * Time to live of a lock, which it outlives its holder by at most. The holder renews it three times
 * in it.
 */
const LOCK_MS = 60_000;

const setMissing = defineScript<0 | 1>(import.meta.url, './lua/set-if-missing.lua');
const renew = defineScript<0 | 1>(import.meta.url, './lua/renew-lock.lua');
const release = defineScript<0 | 1>(import.meta.url, './lua/release-lock.lua');

/**
 * Sets a string that expires, if there is none; also in a full Redis.
 * @param milliseconds time to live
 * @returns whether it was set
 */
export async function setIfMissing(
  redis: Redis,
  key: string,
  value: string,
  milliseconds: number,
): Promise<boolean> {
  return (await setMissing(redis, { keys: { key }, args: { value, milliseconds } })) === 1;
}

/**
 * Runs `work` in at most one process at a time.
 * @param key of the lock
 * @param work has to stop when its signal aborts: the lock was lost, because Redis was away for too
 * long
 * @returns the result of `work`; null when another process holds the lock: `work` did not run
 */
export async function withLock<T>(
  redis: Redis,
  key: string,
  work: (lost: AbortSignal) => Promise<T>,
): Promise<T | null> {
  const token = randomUUID();
  if (!(await setIfMissing(redis, key, token, LOCK_MS))) return null;
  const lost = new AbortController();
  let renewedAt = Date.now();
  const renewal = setInterval(() => {
    renew(redis, { keys: { lock: key }, args: { token, milliseconds: LOCK_MS } }).then(
      (renewed) => {
        if (renewed === 1) renewedAt = Date.now();
        else lost.abort(new Error('The lock was lost.'));
      },
      () => {
        if (Date.now() - renewedAt > LOCK_MS / 2) lost.abort(new Error('Redis cannot be reached.'));
      },
    );
  }, LOCK_MS / 3);
  try {
    return await work(lost.signal);
  } finally {
    clearInterval(renewal);
    await release(redis, { keys: { lock: key }, args: { token } }).catch(() => {});
  }
}
