import type { Logger } from 'pino';
import { type Config, ConfigError } from '../config/config.ts';
import { CLUSTER_REFUSED, inspectRedis } from '../store/redis-inspection.ts';
import type { SharedStore } from '../store/store.ts';

/** How a Redis keeps what the API accepts. */
export interface RedisReadiness {
  /** Sentences about what keeps the API from accepting work. */
  readonly missing: readonly string[];
  /** Sentences about what can lose accepted work. */
  readonly warnings: readonly string[];
}

/**
 * Whether Redis accepts writes and keeps them.
 * @throws Error when Redis cannot be reached
 */
export async function checkRedis(
  { redis }: Pick<SharedStore, 'redis'>,
  { requireDurable }: Pick<Config, 'requireDurable'>,
): Promise<RedisReadiness> {
  await redis.ping();
  const { isReplica, risks, unchecked } = await inspectRedis(redis);
  const missing = isReplica
    ? ['The connected Redis is a replica, which refuses writes; the API returns to the primary by itself.']
    : [];
  return requireDurable
    ? { missing: [...missing, ...risks], warnings: unchecked }
    : { missing, warnings: [...risks, ...unchecked] };
}

/**
 * Checks Redis at the start of an API, and logs what can lose accepted work.
 * @throws ConfigError for a cluster, and with FINDERY_REQUIRE_DURABLE for a Redis that can lose
 *   accepted work
 */
export async function checkRedisAtStart(
  { redis }: Pick<SharedStore, 'redis'>,
  { requireDurable, redisUrl }: Pick<Config, 'requireDurable' | 'redisUrl'>,
  logger: Logger,
): Promise<void> {
  const { isCluster, risks, unchecked, maxMemory } = await inspectRedis(redis);
  if (isCluster) throw new ConfigError(`The Redis of REDIS_URL can't be used: ${CLUSTER_REFUSED}.`);
  if (requireDurable && risks.length > 0)
    throw new ConfigError(
      `FINDERY_REQUIRE_DURABLE is true, and the Redis can lose accepted work:\n  - ${risks.join('\n  - ')}`,
    );
  for (const sentence of [...risks, ...unchecked]) logger.warn(sentence);
  // The private Redis is no matter of the operator.
  if (maxMemory === 0 && redisUrl !== null)
    logger.warn(
      'Redis has maxmemory 0: it grows until its machine has no memory left. ' +
        'Set maxmemory to what the machine can spare; a full Redis answers 503 and loses nothing.',
    );
}
