import type { QueueFigures } from '../../queue/fair-scheduler.ts';
import type { QUEUES, QueueName } from '../../queue/queues.ts';
import { parseInfo } from '../../store/redis-inspection.ts';
import type { SharedStore } from '../../store/store.ts';
import { listWorkers } from '../../store/worker-registry.ts';
import type { WebhookBacklog } from '../../webhooks/store.ts';

/** Tenants of a queue that have series of their own; the rest is summed up. */
export const LISTED_TENANTS = 20;

/** What one queue holds. */
export interface QueueLoad extends QueueFigures {
  /** Entries that wait, for a worker or for their next attempt. */
  readonly waiting: number;
  /** Entries that workers have. */
  readonly active: number;
}

/** What all processes of a service share: the state of its Redis. */
export interface ServiceFigures {
  readonly queues: Readonly<Record<QueueName, QueueLoad>>;
  /** Number of ended jobs and samples by "KIND.STATUS" (`RedisKeys.ended`). */
  readonly ended: Readonly<Record<string, string>>;
  /** Live workers. */
  readonly workers: number;
  readonly webhooks: WebhookBacklog;
  readonly redis: RedisFigures;
}

interface RedisFigures {
  /** Seconds from a PING to its answer, with the wait of this process. */
  readonly pingSeconds: number;
  readonly usedBytes: number | null;
  /** Bytes that it may use; null: no limit, or unknown. */
  readonly maxBytes: number | null;
}

/**
 * Reads the shared figures in a few round trips whose time does not grow with the queue.
 * @param models whose waiting entries are counted
 * @throws Error when Redis cannot be reached
 */
export async function readServiceFigures(
  store: SharedStore,
  models: readonly string[],
): Promise<ServiceFigures> {
  const { redis, keys, queues, webhooks } = store;
  const loadOf = async (name: QueueName): Promise<QueueLoad> => {
    const [counts, figures] = await Promise.all([
      queues.count(name),
      queues.figures(name, models, LISTED_TENANTS),
    ]);
    return { ...counts, ...figures };
  };
  const redisFigures = await readRedis(store); // before the rest, which would be in its time
  const [optimize, sample, ended, workers, backlog] = await Promise.all([
    loadOf('optimize'),
    loadOf('sample'),
    redis.hgetall(keys.ended()),
    listWorkers(redis, keys),
    webhooks.backlog(),
  ]);
  return {
    queues: { optimize, sample } satisfies Record<keyof typeof QUEUES, QueueLoad>,
    ended,
    workers: workers.length,
    webhooks: backlog,
    redis: redisFigures,
  };
}

async function readRedis({ redis }: SharedStore): Promise<RedisFigures> {
  const began = performance.now();
  await redis.ping();
  const pingSeconds = (performance.now() - began) / 1000;
  // Some users of a managed Redis may not read INFO.
  const info = parseInfo(await redis.info('memory').catch(() => ''));
  const bytes = (name: string) => Number(info.get(name) ?? Number.NaN) || null;
  return { pingSeconds, usedBytes: bytes('used_memory'), maxBytes: bytes('maxmemory') };
}
