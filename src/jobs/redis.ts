import { Redis } from 'ioredis';

/**
 * A connection to Redis. Commands wait while the connection is down (ioredis reconnects); `failFast` is for the API,
 * where a request should rather be answered with 503, also when Redis is there and silent.
 */
export function connectRedis(url: string, options: { readonly failFast: boolean }): Redis {
  return new Redis(url, {
    maxRetriesPerRequest: options.failFast ? 1 : null,
    commandTimeout: options.failFast ? 5000 : undefined,
    enableReadyCheck: true,
    retryStrategy: (attempt) => Math.min(2000, 50 * 2 ** Math.min(attempt, 6)),
  });
}

export type { Redis };
