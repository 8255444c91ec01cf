import type { Config } from '../../config/config.ts';
import { openConnection, redactUrl } from '../../redis/address.ts';
import { findPrivateRedis, findRedisServer } from '../redis/private-redis.ts';
import { type Finding, ok, problem, type Result, warning } from './finding.ts';

const TIMEOUT_MS = 5000;
/** Difference between the clocks of Redis and this machine above which deadlines are off. */
const MAX_CLOCK_DIFFERENCE_MS = 2000;

/**
 * Looks at the Redis of the configuration: whether it answers, takes writes, keeps what it has
 * acknowledged, and at its clock. A private Redis that does not run is not started.
 */
export async function checkRedis(config: Config): Promise<Finding[]> {
  const url = config.redisUrl ?? (await findPrivateRedis(config.dataFolder));
  if (url === null) return [{ check: 'redis', ...(await checkServerProgram()) }];
  const client = openConnection(
    url,
    {
      lazyConnect: true,
      connectTimeout: TIMEOUT_MS,
      commandTimeout: TIMEOUT_MS,
      maxRetriesPerRequest: 0,
      retryStrategy: () => null,
    },
    config,
  );
  let reason = '';
  client.on('error', (error) => {
    reason = error.message || ((error as NodeJS.ErrnoException).code ?? '');
  });
  try {
    await client.connect();
    const began = performance.now();
    const info = readInfo(await client.info());
    const milliseconds = (performance.now() - began).toFixed(1);
    const isValkey = info.server_name === 'valkey';
    const version = isValkey ? info.valkey_version : info.redis_version;
    const product = `${isValkey ? 'Valkey' : 'Redis'} ${version}`;
    // A managed Redis may refuse CONFIG; then only INFO counts.
    const fsync = (await client.config('GET', 'appendfsync').catch(() => [])) as string[];
    return [
      { check: 'redis', ...checkService(info, `${product} answers in ${milliseconds} ms`) },
      { check: 'persistence', ...checkPersistence(info, fsync[1] ?? null) },
      { check: 'clock', ...checkClock(await client.time()) },
    ];
  } catch (error) {
    return [
      {
        check: 'redis',
        ...problem(
          `${redactUrl(url)} can't be used: ${reason || (error as Error).message}. ` +
            'Start it, or correct REDIS_URL',
        ),
      },
    ];
  } finally {
    // After the connection has ended, `disconnect` would keep this process alive for two seconds.
    if (client.status !== 'end') client.disconnect();
  }
}

async function checkServerProgram(): Promise<Result> {
  const program = await findRedisServer(process.env.PATH ?? '');
  return program === null
    ? problem(
        'REDIS_URL is not set, and the PATH has neither redis-server nor valkey-server. Install one, ' +
          'or set REDIS_URL',
      )
    : ok(`REDIS_URL is not set; npm start starts a private Redis with ${program}`);
}

/** Fields of INFO by their names. */
export type RedisInfo = { readonly [field: string]: string };

/** Reads the answer of INFO. */
export function readInfo(text: string): RedisInfo {
  return Object.fromEntries(
    text
      .split('\r\n')
      .map((line) => line.split(/:(.*)/, 2))
      .filter((parts) => parts.length === 2),
  );
}

function checkService(info: RedisInfo, answer: string): Result {
  if (info.redis_mode === 'cluster')
    return problem(`${answer}, as a Cluster. Set REDIS_URL to a Redis that is none`);
  if (info.role === 'slave')
    return problem(`${answer}, as a replica, which takes no writes. Set REDIS_URL to its primary`);
  if (info.loading === '1') return warning(`${answer}, and still loads its data. Wait`);
  const limit = Number(info.maxmemory);
  const used = Number(info.used_memory);
  if (limit > 0 && used > 0.9 * limit)
    return warning(`${answer}, and ${Math.round((100 * used) / limit)} % of maxmemory are used. Raise it`);
  return ok(answer);
}

/**
 * Whether what was answered with 202 survives a crash of Redis.
 * @param fsync value of `appendfsync`; null: unknown
 */
export function checkPersistence(info: RedisInfo, fsync: string | null): Result {
  if (Number(info.maxmemory) > 0 && info.maxmemory_policy !== 'noeviction')
    return problem(
      `maxmemory-policy is ${info.maxmemory_policy}: a full Redis drops jobs. ` +
        'Set it to noeviction (CONFIG SET maxmemory-policy noeviction)',
    );
  if (info.aof_enabled !== '1')
    return warning(
      'appendonly is off: a crash of Redis loses the jobs accepted since its last snapshot. ' +
        'Set it (CONFIG SET appendonly yes, and in redis.conf)',
    );
  if (info.aof_last_write_status && info.aof_last_write_status !== 'ok')
    return problem('Redis could not write its append-only file. Look at its disk and log');
  if (fsync !== null && fsync !== 'always')
    return warning(
      `appendfsync is ${fsync}: a crash of its machine loses the jobs of the last ` +
        `${fsync === 'no' ? 'half minute' : 'second'}. "always" loses none`,
    );
  return ok(`appendonly yes${fsync === null ? '' : `, appendfsync ${fsync}`}, ${info.maxmemory_policy}`);
}

function checkClock([seconds, microseconds]: readonly (number | string)[]): Result {
  const difference = Math.abs(Date.now() - (Number(seconds) * 1000 + Number(microseconds) / 1000));
  return difference > MAX_CLOCK_DIFFERENCE_MS
    ? warning(
        `this machine and Redis differ by ${(difference / 1000).toFixed(0)} s, and deadlines are off ` +
          'by as much. Synchronize both (chrony, systemd-timesyncd)',
      )
    : ok('agrees with that of Redis');
}
