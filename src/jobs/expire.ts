import type { JobRecord } from '../contract/records.ts';
import { FINAL_STATUSES } from '../contract/schemas/job.ts';
import type { BlobStore } from '../storage/blobs.ts';
import type { Store } from '../store/store.ts';
import { endWaiting } from './end-waiting.ts';
import { ensureQueued } from './requeue.ts';

/** Most jobs that one round looks at; the next round has the rest. */
const MOST = 500;

/**
 * Ends jobs that wait or are paused although their deadline has passed. Those that have learnt something go to a worker, which
 * keeps it; those that run are watched by their workers.
 * @param now milliseconds since 1970
 */
export async function expireOverdue(store: Store, blobs: BlobStore, now: number): Promise<void> {
  const { redis, keys } = store;
  for (const id of await redis.zrangebyscore(keys.deadlines(), '-inf', now, 'LIMIT', 0, MOST)) {
    const job = await store.jobs.find(id);
    if (!job || FINAL_STATUSES.includes(job.status)) await redis.zrem(keys.deadlines(), id);
    else if (job.status === 'queued' || job.status === 'paused') await expire(store, blobs, job, now);
  }
}

async function expire(store: Store, blobs: BlobStore, job: JobRecord, now: number): Promise<void> {
  const statuses = [job.status];
  if (job.checkpoint === null) {
    const at = new Date(now).toISOString();
    if (await endWaiting(store, blobs, job, { status: 'expired', statuses, now: at })) {
      await store.queues.remove('optimize', job.id);
      await store.redis.zrem(store.keys.deadlines(), job.id);
    }
  } else if (job.status === 'paused') {
    const events = [{ type: 'status', data: { status: 'queued', stage: 'waiting' } }];
    const outcome = await store.jobs.change(job.id, {
      set: { status: 'queued' },
      events,
      statuses,
      queue: true,
    });
    if (outcome === 'done') await ensureQueued(store, job);
  }
}
