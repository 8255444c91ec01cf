import type { WorkerInfo } from '../contract/schemas/catalog.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';

/** A worker that was not heard of for so long counts as gone. */
const SECONDS = 10;

/** Says that a worker lives; to be called every few seconds. */
export async function announceWorker(redis: Redis, keys: RedisKeys, worker: WorkerInfo): Promise<void> {
  await redis
    .multi()
    .set(keys.worker(worker.id), JSON.stringify(worker), 'EX', SECONDS)
    .sadd(keys.workers(), worker.id)
    .exec();
}

export async function dismissWorker(redis: Redis, keys: RedisKeys, id: string): Promise<void> {
  await redis.multi().del(keys.worker(id)).srem(keys.workers(), id).exec();
}

/** The live workers, oldest first. */
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
