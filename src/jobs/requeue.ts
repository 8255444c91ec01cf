import type { JobRecord, SampleRecord } from '../contract/records.ts';
import type { QueueName } from '../queue/queues.ts';
import type { Store } from '../store/store.ts';

/**
 * New work gets its record and its place in the queue in one change (`accept-work.ts`). Work that comes to wait again (resumed, tried
 * again, to be canceled by a worker) does in two: the record and its id among the `unqueued`, then the queue. Whoever comes by does
 * the second, as often as it takes, until the work is seen waiting there. So a crash in between loses nothing, and what was left
 * costs what it is, not a look at all that waits.
 */

/** Most ids that one round looks at; the next round has the rest. */
const MOST = 500;

/** Puts a record with the status `queued` into its queue. It stays remembered until it waits there. */
export async function ensureQueued(store: Store, record: JobRecord | SampleRecord): Promise<void> {
  const { id } = record;
  const name = queueOf(id);
  await store.queues.add(name, record);
  // A worker that is just giving up its last piece of the work still holds the entry: adding it then changes nothing.
  if (await store.queues.waits(name, id)) await store.redis.zrem(store.keys.unqueued(), id);
}

/**
 * Queues what was accepted and is in no queue.
 * @param olderThan seconds that it has to have been so: younger ones are in the hands of those who accept them
 * @returns how many were looked at
 */
export async function requeuePending(store: Store, olderThan: number): Promise<number> {
  const { redis, keys } = store;
  const [now] = await redis.time();
  const ids = await redis.zrangebyscore(keys.unqueued(), '-inf', Number(now) - olderThan, 'LIMIT', 0, MOST);
  for (const id of ids) await queueAgain(store, id);
  return ids.length;
}

/** To be called by who has let go of an entry of the queue: queues the record again when its work is not over. */
export async function requeueUnfinished(store: Store, id: string): Promise<void> {
  const record = await recordOf(store, id);
  if (!record || !WAITING.includes(record.status)) return;
  await store.redis.zadd(store.keys.unqueued(), 'NX', 0, id);
  await ensureQueued(store, record);
}

async function queueAgain(store: Store, id: string): Promise<void> {
  const record = await recordOf(store, id);
  if (record && WAITING.includes(record.status)) await ensureQueued(store, record);
  else await store.redis.zrem(store.keys.unqueued(), id);
}

/** A worker has to see them: those that wait, and those that are to end and keep what was learnt. */
const WAITING: readonly string[] = ['queued', 'running', 'canceling'];

/**
 * Looks at all records, a page at a time, for work that is in no queue although its record says that it waits or runs: after an
 * upgrade, and after losses of Redis that no order of writing guards against.
 * @returns how many there were
 */
export async function requeueOrphans(store: Store): Promise<number> {
  let count = 0;
  for (const records of [store.jobs, store.samples]) {
    for await (const ids of records.idsWith(WAITING)) {
      for (const id of await store.queues.missing(records === store.jobs ? 'optimize' : 'sample', ids)) {
        await store.redis.zadd(store.keys.unqueued(), 'NX', 0, id);
        await queueAgain(store, id);
        count++;
      }
    }
  }
  return count;
}

function queueOf(id: string): QueueName {
  return id.startsWith('smp_') ? 'sample' : 'optimize';
}

function recordOf(store: Store, id: string): Promise<JobRecord | SampleRecord | null> {
  return queueOf(id) === 'sample' ? store.samples.find(id) : store.jobs.find(id);
}
