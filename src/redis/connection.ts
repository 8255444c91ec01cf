import type { Redis } from 'ioredis';
import { openConnection, type RedisTlsFiles } from './address.ts';

/**
 * Time after which a command of a `failFast` connection fails, although Redis accepts connections.
 */
const COMMAND_TIMEOUT_MS = 5000;
/** Longest pause between two attempts to reconnect. */
const MAX_RECONNECT_PAUSE_MS = 2000;

/** Pause before a connection returns to a Redis that has just refused a write as a replica. */
const REPLICA_PAUSE_MS = 500;

/** How a process connects to Redis. */
export interface ConnectionOptions {
  /**
   * Commands fail while Redis cannot be reached or is silent, so that a request gets its 503 (API).
   * Without it they wait for Redis (workers).
   */
  readonly failFast: boolean;
  /** Files for TLS. */
  readonly tls?: RedisTlsFiles;
}

/**
 * Connects to Redis, and reconnects whenever the connection is lost or its Redis has become a
 * replica: the address then leads to the new primary. Copies (`duplicate`) do the same.
 * @param url as in REDIS_URL
 * @throws Error when a file for TLS can't be read
 */
export function connectRedis(url: string, { failFast, tls }: ConnectionOptions): Redis {
  let refusedAt = Number.NEGATIVE_INFINITY;
  const redis = openConnection(
    url,
    {
      maxRetriesPerRequest: failFast ? 1 : null,
      commandTimeout: failFast ? COMMAND_TIMEOUT_MS : undefined,
      enableReadyCheck: true,
      retryStrategy(attempt) {
        const pause = Math.min(MAX_RECONNECT_PAUSE_MS, 50 * 2 ** Math.min(attempt, 6));
        const wasRefused = performance.now() - refusedAt < REPLICA_PAUSE_MS;
        return wasRefused ? Math.max(pause, REPLICA_PAUSE_MS) : pause;
      },
      reconnectOnError(error) {
        if (!isReadOnly(error)) return false;
        refusedAt = performance.now();
        // A script is sent again to the next Redis. Other commands may be a part of a transaction,
        // without which they must not run: they fail.
        return /^eval/i.test(commandOf(error)) ? 2 : 1;
      },
    },
    tls,
  );
  if (failFast) redis.on('connect', () => batchWrites(redis.stream));
  return redis;
}

/** Whether a replica refused a write. Errors of scripts have the code inside, in Redis 6. */
function isReadOnly({ message }: Error): boolean {
  return /(?:^|-)READONLY /.test(message);
}

/** Name of the command that an error of ioredis answers. */
function commandOf(error: Error & { readonly command?: { readonly name?: string } }): string {
  return error.command?.name ?? '';
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
