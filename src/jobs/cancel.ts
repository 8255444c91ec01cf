import type { BlobStore } from '../storage/blobs.ts';
import { archiveEnded } from './archive.ts';
import { ProblemError } from './problem.ts';
import type { JobRecord, Store } from './store.ts';
import { viewJob } from './views.ts';

/**
 * Cancels a job: at once where no worker has it, else it is asked to stop. Again for one that is canceled: no change.
 * @param keepPartial store the policy learnt so far; only a worker can make one of a checkpoint, so that takes a worker
 * @param now RFC 3339
 * @returns the job as it is then
 * @throws ProblemError `conflict` when it has succeeded or failed
 */
export async function cancelJob(
  store: Store,
  blobs: BlobStore,
  id: string,
  { keepPartial, now }: { readonly keepPartial: boolean; readonly now: string },
): Promise<JobRecord> {
  const job = await store.jobs.get(id);
  if (job.status === 'succeeded' || job.status === 'failed') {
    throw new ProblemError(
      'conflict',
      `The job ${id} has ${job.status} already; only jobs that wait or run can be canceled.`,
    );
  }
  if (job.status === 'canceled') return job;
  const needsWorker = keepPartial && job.checkpoint !== null;
  if (!needsWorker && (await isFree(store, job))) {
    await endHere(store, blobs, job, now);
  } else {
    const set = { status: 'canceling' as const, cancelRequested: true, keepPartial };
    const events = [{ type: 'status', data: { status: 'canceling', stage: job.progress.stage } }];
    await store.jobs.change(id, { set, events, statuses: ['queued', 'running'] });
    if (needsWorker) await store.queues.add('optimize', id, job.priority); // changes nothing where it is in the queue
    await store.redis.publish(store.keys.cancels(), id);
  }
  return store.jobs.get(id);
}

/** Whether no worker has it or will: it was taken out of the queue, or was (by a crash) in none. */
async function isFree({ queues }: Store, { id, status }: JobRecord): Promise<boolean> {
  if (status === 'queued' && (await queues.remove('optimize', id))) return true;
  return !(await queues.has('optimize', id));
}

async function endHere(store: Store, blobs: BlobStore, job: JobRecord, now: string): Promise<void> {
  const set = {
    status: 'canceled' as const,
    finishedAt: now,
    cancelRequested: true,
    checkpoint: null,
    progress: { ...job.progress, stage: 'ended' as const, secondsLeft: null },
  };
  const events = [
    { type: 'status', data: { status: 'canceled', stage: 'ended' } },
    { type: 'done', data: viewJob({ ...job, ...set }, null) },
  ];
  const statuses = ['queued', 'running', 'canceling'];
  const outcome = await store.jobs.change(job.id, { set, events, statuses });
  // It has made nothing: that it was canceled may be archived late (by the sweep), but a client may not be kept waiting for it.
  if (outcome === 'done') await archiveEnded(store, blobs, job.id).catch(() => {});
  if (outcome === 'done' && job.checkpoint) await blobs.delete(job.checkpoint.key);
}
