import { setTimeout as sleep } from 'node:timers/promises';
import { openConnection, type RedisTlsFiles, redactUrl } from '../../redis/address.ts';
import { CLUSTER_REFUSED, inspectRedis } from '../../store/redis-inspection.ts';
import { installRedis } from './install-redis.ts';
import { findRedisServer, startPrivateRedis } from './private-redis.ts';

export interface RedisService {
  /** URL as in REDIS_URL. */
  readonly url: string;
  /** `given`: named by REDIS_URL; `private`: started by this process. */
  readonly origin: 'given' | 'private';
  /**
   * Ends a private Redis and waits until its data are on the disk. Leaves a given one running.
   * Idempotent.
   */
  stop(): Promise<void>;
}

export interface EnsureRedisOptions {
  /** REDIS_URL; missing or null: use a private Redis. */
  readonly url?: string | null;
  /** Files for TLS, for a given Redis. */
  readonly tls?: RedisTlsFiles;
  /**
   * Milliseconds that a given Redis may be away or a replica at the start. Default 0. Long-running
   * processes wait (`START_WAIT_MS`); commands fail at once.
   */
  readonly waitMs?: number;
  /** Ends that wait. */
  readonly stop?: AbortSignal;
  /**
   * Data folder of the service (FINDERY_DATA). A private Redis keeps its data in its subfolder
   * `redis`.
   */
  readonly dataDir: string;
  /** Receives lines for people: what is being started or installed. */
  readonly log: (line: string) => void;
  /** Whether a missing redis-server may be installed with apt-get. Default: true. */
  readonly install?: boolean;
  /** Folders with programs, separated as in PATH. Default: PATH. */
  readonly searchPath?: string;
}

/** How long a process waits at its start for a Redis that is away. */
export const START_WAIT_MS = 60_000;
/** Pause between two attempts to reach it. */
const START_RETRY_MS = 500;

/** No Redis can be used. The message says what to do. */
export class RedisUnavailableError extends Error {
  override readonly name = 'RedisUnavailableError';
}

/**
 * Provides a Redis that answers: the one that `url` names, or else a private one
 * (`startPrivateRedis`). If no redis-server is installed, `installRedis` tries to install it.
 *
 * @throws RedisUnavailableError when the given Redis does not answer in `waitMs` or is a cluster,
 *   or there is no redis-server to start
 */
export async function ensureRedis(options: EnsureRedisOptions): Promise<RedisService> {
  const { url, dataDir, log, install = true, searchPath = process.env.PATH ?? '' } = options;
  if (url) {
    await waitForRedis(url, options);
    return { url, origin: 'given', stop: async () => {} };
  }
  let program = await findRedisServer(searchPath);
  if (program === null && install && (await installRedis(searchPath, log)))
    program = await findRedisServer(searchPath);
  if (program === null) {
    throw new RedisUnavailableError(
      'findery keeps its queue in Redis, and the PATH has neither redis-server nor valkey-server. ' +
        'Install one (Debian, Ubuntu: apt-get install redis-server; Fedora: dnf install valkey; ' +
        'macOS: brew install redis), or set REDIS_URL to a Redis that runs elsewhere, ' +
        'such as redis://localhost:6379.',
    );
  }
  const { url: privateUrl, stop } = await startPrivateRedis({ program, dataDir, log });
  return { url: privateUrl, origin: 'private', stop };
}

/**
 * Time until the first answer of a given Redis. One that loads its data answers with an error that
 * says so.
 */
const ANSWER_TIMEOUT_MS = 5000;

/** Why a given Redis can't be used. `isLasting`: waiting does not help. */
interface Refusal {
  readonly reason: string;
  readonly isLasting: boolean;
  readonly cause?: unknown;
}

async function waitForRedis(url: string, { tls, log, waitMs = 0, stop }: EnsureRedisOptions): Promise<void> {
  const deadline = performance.now() + waitMs;
  for (let isFirst = true; ; isFirst = false) {
    const refusal = await checkRedis(url, tls);
    if (refusal === null) return;
    const name = `The Redis of REDIS_URL (${redactUrl(url)})`;
    if (refusal.isLasting || performance.now() >= deadline || stop?.aborted)
      throw new RedisUnavailableError(
        `${name} can't be used: ${refusal.reason}. ` +
          'Start it, correct REDIS_URL, or unset REDIS_URL: npm start and npm run demo then use ' +
          'a private Redis.',
        { cause: refusal.cause },
      );
    if (isFirst)
      log(`${name} can't be used yet: ${refusal.reason}. Waiting for it, ${waitMs / 1000} seconds at most.`);
    await sleep(START_RETRY_MS, undefined, { signal: stop }).catch(() => {});
  }
}

/** Tries a given Redis once; null: it can be used. */
async function checkRedis(url: string, tls: RedisTlsFiles | undefined): Promise<Refusal | null> {
  let reason = `no answer within ${ANSWER_TIMEOUT_MS / 1000} seconds`;
  const client = openConnection(
    url,
    {
      lazyConnect: true,
      connectTimeout: ANSWER_TIMEOUT_MS,
      commandTimeout: ANSWER_TIMEOUT_MS,
      maxRetriesPerRequest: 0,
      retryStrategy: () => null,
      sentinelRetryStrategy: () => null,
    },
    tls,
  );
  // `connect` rejects with "Connection is closed."; the error event has the cause.
  client.on('error', (error) => {
    reason = error.message || (error as NodeJS.ErrnoException).code || reason;
  });
  try {
    await client.connect();
    await client.ping();
    const { isCluster, isReplica } = await inspectRedis(client);
    if (isCluster) return { reason: CLUSTER_REFUSED, isLasting: true };
    return isReplica ? { reason: 'it is a replica, which refuses writes', isLasting: false } : null;
  } catch (error) {
    // Sentinels that know no primary are an error of `connect` alone.
    if (error instanceof Error && /sentinel/i.test(error.message)) ({ message: reason } = error);
    return {
      reason: reason.replace(/\.$/, ''),
      isLasting: /^(?:WRONGPASS|NOAUTH|NOPERM|ERR )/.test(reason),
      cause: error,
    };
  } finally {
    // After the connection has ended, `disconnect` would only start a timer that keeps this process
    // alive for two seconds.
    if (client.status !== 'end') client.disconnect();
  }
}
