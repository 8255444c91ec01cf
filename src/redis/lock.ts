import { randomUUID } from 'node:crypto';
import type { Redis } from './connection.ts';

/** How long a lock outlives its holder, milliseconds; it is renewed three times in it. */
const HOLD = 60_000;

const RENEW = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0`;
const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

/**
 * Does `work` in one process of all at a time. The signal is aborted when the lock was lost (Redis was away for too long): the work
 * has to stop then.
 * @returns what `work` gives; null, without doing it, while another process has the lock
 */
export async function withLock<T>(
  redis: Redis,
  key: string,
  work: (lost: AbortSignal) => Promise<T>,
): Promise<T | null> {
  const token = randomUUID();
  if ((await redis.set(key, token, 'PX', HOLD, 'NX')) === null) return null;
  const lost = new AbortController();
  let renewedAt = Date.now();
  const renewal = setInterval(() => {
    redis.eval(RENEW, 1, key, token, HOLD).then(
      (renewed) => {
        if (renewed === 1) renewedAt = Date.now();
        else lost.abort(new Error('The lock was lost.'));
      },
      () => {
        if (Date.now() - renewedAt > HOLD / 2) lost.abort(new Error('Redis is away.'));
      },
    );
  }, HOLD / 3);
  try {
    return await work(lost.signal);
  } finally {
    clearInterval(renewal);
    await redis.eval(RELEASE, 1, key, token).catch(() => {});
  }
}
