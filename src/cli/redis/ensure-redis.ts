import { Redis } from 'ioredis';
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

/** No Redis can be used. The message says what to do. */
export class RedisUnavailableError extends Error {
  override readonly name = 'RedisUnavailableError';
}

/**
 * Provides a Redis that answers: the one that `url` names, or else a private one
 * (`startPrivateRedis`). If no redis-server is installed, `installRedis` tries to install it.
 *
 * @throws RedisUnavailableError when the given Redis does not answer, or there is no redis-server
 *   to start
 */
export async function ensureRedis(options: EnsureRedisOptions): Promise<RedisService> {
  const { url, dataDir, log, install = true, searchPath = process.env.PATH ?? '' } = options;
  if (url) {
    await checkAnswers(url);
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

async function checkAnswers(url: string): Promise<void> {
  let reason = `no answer within ${ANSWER_TIMEOUT_MS / 1000} seconds`;
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: ANSWER_TIMEOUT_MS,
    commandTimeout: ANSWER_TIMEOUT_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  // `connect` rejects with "Connection is closed."; the error event has the cause.
  client.on('error', (error) => {
    reason = error.message || (error as NodeJS.ErrnoException).code || reason;
  });
  try {
    await client.connect();
    await client.ping();
  } catch (error) {
    throw new RedisUnavailableError(
      `The Redis of REDIS_URL (${redactUrl(url)}) can't be used: ${reason.replace(/\.$/, '')}. ` +
        'Start it, correct REDIS_URL, or unset REDIS_URL: npm start and npm run demo then use ' +
        'a private Redis.',
      { cause: error },
    );
  } finally {
    // After the connection has ended, `disconnect` would only start a timer that keeps this process
    // alive for two seconds.
    if (client.status !== 'end') client.disconnect();
  }
}

/** The URL with `***` for its password, both before the host and in the query. */
export function redactUrl(url: string): string {
  return url.replace(/^([a-z]+:\/\/[^:/@]*):.*@/i, '$1:***@').replace(/([?&]password=)[^&]*/gi, '$1***');
}
