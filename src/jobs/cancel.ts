import { ProblemError } from '../contract/problem.ts';
import type { JobRecord } from '../contract/records.ts';
import type { BlobStore } from '../storage/blobs.ts';
import type { Store } from '../store/store.ts';
import { endWaiting } from './end-waiting.ts';
import { ensureQueued } from './requeue.ts';

/**
 * Cancels a job: at once where no worker has it, else it is asked to stop. Again for one that is canceled: no change.
 * @param keepPartial store the policy learnt so far; only a worker can make one of a checkpoint, so that takes a worker
 * @param now RFC 3339
 * @returns the job as it is then
 * @throws ProblemError `conflict` when it has succeeded, failed or expired
 */
export async function cancelJob(
  store: Store,
  blobs: BlobStore,
  id: string,
  { keepPartial, now }: { readonly keepPartial: boolean; readonly now: string },
): Promise<JobRecord> {
  const job = await store.jobs.get(id);
  if (job.status === 'succeeded' || job.status === 'failed' || job.status === 'expired') {
    throw new ProblemError(
      'conflict',
      `The job ${id} has ${job.status} already; only jobs that wait, run or are paused can be canceled.`,
    );
  }
  if (job.status === 'canceled') return job;
  const needsWorker = keepPartial && job.checkpoint !== null;
  if (!needsWorker && (await isFree(store, job))) {
    await endHere(store, blobs, job, now);
  } else {
    const set = { status: 'canceling' as const, cancelRequested: true, keepPartial };
    const events = [{ type: 'status', data: { status: 'canceling', stage: job.progress.stage } }];
    const statuses = ['queued', 'running', 'paused'];
    await store.jobs.change(id, { set, events, statuses, queue: true });
    // Changes nothing where it is in the queue.
    if (needsWorker) await ensureQueued(store, job);
    await store.redis.publish(store.keys.cancels(), id);
  }
  return store.jobs.get(id);
}

/** Whether no worker has it or will: it was taken out of the queue, or was (by a crash) in none. */
async function isFree({ queues }: Store, { id, status }: JobRecord): Promise<boolean> {
  if ((status === 'queued' || status === 'paused') && (await queues.remove('optimize', id))) return true;
  return !(await queues.has('optimize', id));
}

async function endHere(store: Store, blobs: BlobStore, job: JobRecord, now: string): Promise<void> {
  const statuses = ['queued', 'running', 'paused', 'canceling'];
  const set = { cancelRequested: true };
  const ended = await endWaiting(store, blobs, job, { status: 'canceled', statuses, now, set });
  if (ended && job.checkpoint) await blobs.delete(job.checkpoint.key);
}
