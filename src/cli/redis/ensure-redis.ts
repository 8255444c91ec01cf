import { Redis } from 'ioredis';
import { installRedis } from './install-redis.ts';
import { findRedisServer, startPrivateRedis } from './private-redis.ts';

export interface RedisService {
  /** What `connectRedis` and REDIS_URL take. */
  readonly url: string;
  /** Ours to stop (`private`) or somebody else's (`given`). */
  readonly origin: 'given' | 'private';
  /** Ends a private Redis and waits until its data are on the disk; leaves a given one alone. May be called twice. */
  stop(): Promise<void>;
}

export interface EnsureRedisOptions {
  /** REDIS_URL, where it is set. */
  readonly url?: string | null;
  /** Folder of the service; a private Redis keeps its data in `redis` below it. */
  readonly dataDir: string;
  /** Told in plain lines what is done: starting, installing. */
  readonly log: (line: string) => void;
  /** Whether a missing Redis may be installed with apt-get; default true. */
  readonly install?: boolean;
  /** Where programs are looked for, as in PATH; default the PATH of this process. */
  readonly searchPath?: string;
}

/** There is no Redis to work with; the message says what to do. */
export class RedisUnavailableError extends Error {
  override readonly name = 'RedisUnavailableError';
}

/**
 * A Redis that answers: the given one, else a private one of this process (`startPrivateRedis`), for which a missing
 * redis-server is installed where that is possible without asking (Debian and its kin, as root or with password-less sudo).
 *
 * @throws RedisUnavailableError when the given one can't be used, or there is no way to a private one
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
      'findery keeps its queue in Redis, and neither redis-server nor valkey-server was found on the PATH. Install one ' +
        '(Debian, Ubuntu: apt-get install redis-server; Fedora: dnf install valkey; macOS: brew install redis), or set ' +
        'REDIS_URL to a Redis that runs elsewhere, such as redis://localhost:6379.',
    );
  }
  const { url: privateUrl, stop } = await startPrivateRedis({ program, dataDir, log });
  return { url: privateUrl, origin: 'private', stop };
}

/** How long a given Redis may take to its first answer, milliseconds; one that still loads its data says so meanwhile. */
const PATIENCE = 5000;

async function checkAnswers(url: string): Promise<void> {
  let reason = `no answer within ${PATIENCE / 1000} seconds`;
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: PATIENCE,
    commandTimeout: PATIENCE,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  // The connection's own error says more than the "Connection is closed." that `connect` rejects with.
  client.on('error', (error) => {
    reason = error.message || (error as NodeJS.ErrnoException).code || reason;
  });
  try {
    await client.connect();
    await client.ping();
  } catch (error) {
    throw new RedisUnavailableError(
      `The Redis of REDIS_URL (${redactUrl(url)}) can't be used: ${reason.replace(/\.$/, '')}. Start it, correct REDIS_URL, or unset ` +
        'REDIS_URL so that npm start and npm run demo use a private one.',
      { cause: error },
    );
  } finally {
    // On a connection that has ended, disconnect would only leave a timer that keeps the process for two seconds.
    if (client.status !== 'end') client.disconnect();
  }
}

/** `url` as it may be shown: without its password, whether it stands before the host or in the query. */
export function redactUrl(url: string): string {
  return url.replace(/^([a-z]+:\/\/[^:/@]*):.*@/i, '$1:***@').replace(/([?&]password=)[^&]*/gi, '$1***');
}
