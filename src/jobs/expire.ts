import type { JobRecord } from '../contract/records.ts';
import { FINAL_STATUSES } from '../contract/schemas/job.ts';
import { viewJob } from '../contract/views.ts';
import type { BlobStore } from '../storage/blobs.ts';
import type { Store } from '../store/store.ts';
import { archiveEnded } from './archive.ts';
import { ensureQueued } from './requeue.ts';

/** Jobs per call of `expireOverdue`; the next call takes the rest. */
const MAX_BATCH = 500;

/**
 * Ends jobs that wait or are paused and whose deadline has passed. A job with a checkpoint is
 * queued instead, and its worker stores what it has learned. Running jobs are watched by their
 * workers.
 * @param now milliseconds since 1970
 */
export async function expireOverdue(store: Store, blobs: BlobStore, now: number): Promise<void> {
  const { redis, keys } = store;
  for (const id of await redis.zrangebyscore(keys.deadlines(), '-inf', now, 'LIMIT', 0, MAX_BATCH)) {
    const job = await store.jobs.find(id);
    if (!job || FINAL_STATUSES.includes(job.status)) await redis.zrem(keys.deadlines(), id);
    else if (job.status === 'queued' || job.status === 'paused') await expire(store, blobs, job, now);
  }
}

async function expire(store: Store, blobs: BlobStore, job: JobRecord, now: number): Promise<void> {
  const statuses = [job.status];
  if (job.checkpoint === null) {
    const at = new Date(now).toISOString();
    if (await endWithoutWorker(store, blobs, job, { status: 'expired', statuses, now: at })) {
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

/**
 * Ends a job that no worker has. The data of its `done` event is the final job.
 * @param end `statuses`: those in which the job may be ended; `now`: RFC 3339
 * @returns whether the job was in one of `statuses` and has ended
 */
export async function endWithoutWorker(
  store: Store,
  blobs: BlobStore,
  job: JobRecord,
  end: {
    readonly status: 'canceled' | 'expired';
    readonly statuses: readonly string[];
    readonly now: string;
    readonly set?: Partial<JobRecord>;
  },
): Promise<boolean> {
  const { status, statuses } = end;
  const set = {
    ...end.set,
    status,
    finishedAt: end.now,
    checkpoint: null,
    progress: { ...job.progress, stage: 'ended' as const, secondsLeft: null },
  };
  const events = [
    { type: 'status', data: { status, stage: 'ended' } },
    { type: 'done', data: viewJob({ ...job, ...set }, null) },
  ];
  if ((await store.jobs.change(job.id, { set, events, statuses })) !== 'done') return false;
  // Clients learn of the end also while storage is away: there is no result to lose, and the sweep
  // archives what is missing.
  await archiveEnded(store, blobs, job.id).catch(() => {});
  return true;
}
