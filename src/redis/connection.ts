import { Redis } from 'ioredis';

/**
 * A connection to Redis. Commands wait while the connection is down (ioredis reconnects); `failFast` is for the API,
 * where a request should rather be answered with 503, also when Redis is there and silent.
 */
export function connectRedis(url: string, options: { readonly failFast: boolean }): Redis {
  const redis = new Redis(url, {
    maxRetriesPerRequest: options.failFast ? 1 : null,
    commandTimeout: options.failFast ? 5000 : undefined,
    enableReadyCheck: true,
    retryStrategy: (attempt) => Math.min(2000, 50 * 2 ** Math.min(attempt, 6)),
  });
  if (options.failFast) redis.on('connect', () => writeByTurns(redis.stream));
  return redis;
}

/** Bytes that are sent before the turn of the event loop ends: Redis is at work on them while this process goes on. */
const ENOUGH = 32_768;

/**
 * Sends what is written in one turn of the event loop together, at its end: the commands of all requests that came in it are one packet, for
 * which Redis wakes once, and flushes its file once. Their order and their answers stay as they are.
 */
function writeByTurns(stream: Redis['stream']): void {
  const write = stream.write.bind(stream) as (...parameters: unknown[]) => boolean;
  let isHeld = false;
  const release = () => {
    isHeld = false;
    stream.uncork();
  };
  stream.write = (...parameters: unknown[]) => {
    if (!isHeld) {
      isHeld = true;
      stream.cork();
      setImmediate(release);
    }
    const answer = write(...parameters);
    if (stream.writableLength >= ENOUGH) {
      stream.uncork();
      stream.cork();
    }
    return answer;
  };
}

export type { Redis };
