import type { JobRecord, SampleRecord } from '../contract/records.ts';
import { queueOf } from '../queue/queues.ts';
import type { Store } from '../store/store.ts';

/**
 * Puts work into its queue that is in none although it should be. One change of Redis creates new
 * work and queues it (`queue/enqueue.ts`). Work that waits again (resumed, retried, or to be
 * canceled by a worker) takes two changes: the first one sets the record and adds its id to the set
 * of unqueued ids, the second one queues it. Any process may make the second change, repeatedly,
 * until the work is seen waiting in the queue. A crash in between loses nothing, and the set holds
 * only what is left to do.
 */

/** Ids per call of `requeuePending`; the next call takes the rest. */
const MAX_BATCH = 500;

/** Statuses that need a worker; a job that is canceled may have a partial policy to store. */
const WORKER_STATUSES: readonly string[] = ['queued', 'running', 'canceling'];

/** Puts a record into its queue. Its id stays in the set of unqueued ids until the queue has it. */
export async function ensureQueued(store: Store, record: JobRecord | SampleRecord): Promise<void> {
  const { id } = record;
  const name = queueOf(id);
  await store.queues.add(name, record);
  // A worker that is about to let go of the work still holds its entry; `add` changes nothing then.
  if (await store.queues.waits(name, id)) await store.redis.zrem(store.keys.unqueued(), id);
}

/**
 * Queues the work in the set of unqueued ids.
 * @param minAgeSeconds leaves out younger ids, whose process is probably about to queue them itself
 * @returns the number of ids that were looked at
 */
export async function requeuePending(store: Store, minAgeSeconds: number): Promise<number> {
  const { redis, keys } = store;
  const [now] = await redis.time();
  const latest = Number(now) - minAgeSeconds;
  const ids = await redis.zrangebyscore(keys.unqueued(), '-inf', latest, 'LIMIT', 0, MAX_BATCH);
  for (const id of ids) await requeueOrForget(store, id);
  return ids.length;
}

/**
 * Queues a record again if its work is not over. Call it after the queue has dropped its entry: the
 * job may have been resumed or retried while the entry was still there.
 */
export async function requeueUnfinished(store: Store, id: string): Promise<void> {
  const record = await findRecord(store, id);
  if (!record || !WORKER_STATUSES.includes(record.status)) return;
  await store.redis.zadd(store.keys.unqueued(), 'NX', 0, id);
  await ensureQueued(store, record);
}

/**
 * Searches all records, a page at a time, for work that needs a worker and is in no queue. Upgrades
 * and losses of Redis can leave such work.
 * @returns the number of records that were queued
 */
export async function requeueOrphans(store: Store): Promise<number> {
  let count = 0;
  for (const records of [store.jobs, store.samples]) {
    for await (const ids of records.idsByStatus(WORKER_STATUSES)) {
      for (const id of await store.queues.missing(records === store.jobs ? 'optimize' : 'sample', ids)) {
        await store.redis.zadd(store.keys.unqueued(), 'NX', 0, id);
        await requeueOrForget(store, id);
        count++;
      }
    }
  }
  return count;
}

async function requeueOrForget(store: Store, id: string): Promise<void> {
  const record = await findRecord(store, id);
  if (record && WORKER_STATUSES.includes(record.status)) await ensureQueued(store, record);
  else await store.redis.zrem(store.keys.unqueued(), id);
}

function findRecord(store: Store, id: string): Promise<JobRecord | SampleRecord | null> {
  return queueOf(id) === 'sample' ? store.samples.find(id) : store.jobs.find(id);
}
