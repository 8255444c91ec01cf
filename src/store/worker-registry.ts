import type { WorkerInfo } from '../contract/schemas/catalog.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';

/** Time after its last announcement from which a worker counts as dead. */
const ANNOUNCEMENT_SECONDS = 10;

/** Registers a worker as live. It has to call this every few seconds. */
export async function announceWorker(redis: Redis, keys: RedisKeys, worker: WorkerInfo): Promise<void> {
  await redis
    .multi()
    .set(keys.worker(worker.id), JSON.stringify(worker), 'EX', ANNOUNCEMENT_SECONDS)
    .sadd(keys.workers(), worker.id)
    .exec();
}

/** Removes a worker that stops. */
export async function dismissWorker(redis: Redis, keys: RedisKeys, id: string): Promise<void> {
  await redis.multi().del(keys.worker(id)).srem(keys.workers(), id).exec();
}

/** Live workers, the one that started first at the front. Forgets dead ones. */
export async function listWorkers(redis: Redis, keys: RedisKeys): Promise<WorkerInfo[]> {
  const ids = await redis.smembers(keys.workers());
  if (ids.length === 0) return [];
  const entries = await redis.mget(ids.map((id) => keys.worker(id)));
  const dead = ids.filter((_, i) => entries[i] === null);
  if (dead.length > 0) await redis.srem(keys.workers(), ...dead);
  return entries
    .filter((entry) => entry !== null)
    .map((entry) => JSON.parse(entry) as WorkerInfo)
    .sort((a, b) => (a.startedAt < b.startedAt ? -1 : 1));
}
