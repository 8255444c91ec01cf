import { Redis } from 'ioredis';

/**
 * Time after which a command of a `failFast` connection fails, although Redis accepts connections.
 */
const COMMAND_TIMEOUT_MS = 5000;
/** Longest pause between two attempts to reconnect. */
const MAX_RECONNECT_PAUSE_MS = 2000;

/**
 * Connects to Redis, and reconnects whenever the connection is lost.
 * @param options.failFast commands fail while Redis cannot be reached or is silent, so that a
 * request gets its 503 (API). Without it they wait for Redis (workers).
 */
export function connectRedis(url: string, options: { readonly failFast: boolean }): Redis {
  const redis = new Redis(url, {
    maxRetriesPerRequest: options.failFast ? 1 : null,
    commandTimeout: options.failFast ? COMMAND_TIMEOUT_MS : undefined,
    enableReadyCheck: true,
    retryStrategy: (attempt) => Math.min(MAX_RECONNECT_PAUSE_MS, 50 * 2 ** Math.min(attempt, 6)),
  });
  if (options.failFast) redis.on('connect', () => batchWrites(redis.stream));
  return redis;
}

/** Bytes that are sent before the event loop turns, so that Redis works on them meanwhile. */
const FLUSH_BYTES = 32_768;

/**
 * Sends the commands of one event-loop turn as one packet, when the turn ends. Redis then wakes
 * once for all requests of that turn, and syncs its append-only file once. Order and answers of
 * commands do not change.
 */
function batchWrites(stream: Redis['stream']): void {
  const write = stream.write.bind(stream) as (...parameters: unknown[]) => boolean;
  let isCorked = false;
  const release = () => {
    isCorked = false;
    stream.uncork();
  };
  stream.write = (...parameters: unknown[]) => {
    if (!isCorked) {
      isCorked = true;
      stream.cork();
      setImmediate(release);
    }
    const hasRoom = write(...parameters);
    if (stream.writableLength >= FLUSH_BYTES) {
      stream.uncork();
      stream.cork();
    }
    return hasRoom;
  };
}

export type { Redis };
