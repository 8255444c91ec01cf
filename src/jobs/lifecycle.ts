import { ProblemError } from '../contract/problem.ts';
import type { JobRecord } from '../contract/records.ts';
import { FINAL_STATUSES } from '../contract/schemas/job.ts';
import type { BlobStore } from '../storage/blobs.ts';
import type { Store } from '../store/store.ts';
import { archiveEnded, recordKey } from './archive.ts';
import { endWithoutWorker } from './expire.ts';
import { ensureQueued } from './requeue.ts';

/** The operations that clients have on a job. Each returns the job as it is afterwards. */

const statusEvent = (status: 'paused' | 'queued') => ({ type: 'status', data: { status, stage: 'waiting' } });

/**
 * Cancels a job. A job that no worker has ends at once; otherwise its worker is asked to stop, and
 * the job is `canceling` until then. A canceled job does not change.
 * @param options `keepPartial`: store the policy learned so far, for which a job with a checkpoint
 * needs a worker; `now`: RFC 3339
 * @throws ProblemError `conflict` if the job has succeeded, failed or expired
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
  if (!needsWorker && (await isWithoutWorker(store, job))) {
    const statuses = ['queued', 'running', 'paused', 'canceling'];
    const set = { cancelRequested: true };
    const hasEnded = await endWithoutWorker(store, blobs, job, { status: 'canceled', statuses, now, set });
    if (hasEnded && job.checkpoint) await blobs.delete(job.checkpoint.key);
  } else {
    const set = { status: 'canceling' as const, cancelRequested: true, keepPartial };
    const events = [{ type: 'status', data: { status: 'canceling', stage: job.progress.stage } }];
    const statuses = ['queued', 'running', 'paused'];
    await store.jobs.change(id, { set, events, statuses, queue: true });
    if (needsWorker) await ensureQueued(store, job);
    await store.redis.publish(store.keys.cancels(), id);
  }
  return store.jobs.get(id);
}

/** Whether no worker has the job or will get it: takes it out of its queue, if it waits there. */
async function isWithoutWorker({ queues }: Store, { id, status }: JobRecord): Promise<boolean> {
  if ((status === 'queued' || status === 'paused') && (await queues.remove('optimize', id))) return true;
  return !(await queues.has('optimize', id));
}

/**
 * Pauses a job. A waiting job pauses at once. Pausing a running job is asynchronous: it stays
 * `running` until its worker has stored a checkpoint, within one denoising step. A paused job does
 * not change.
 * @throws ProblemError `conflict` if the job has ended or is being canceled
 */
export async function pauseJob(store: Store, id: string): Promise<JobRecord> {
  for (;;) {
    const job = await store.jobs.get(id);
    switch (job.status) {
      case 'paused':
        return job;
      case 'queued': {
        const events = [statusEvent('paused')];
        const set = { status: 'paused' as const };
        const outcome = await store.jobs.change(id, { set, events, statuses: ['queued'] });
        // An entry that a crash leaves in the queue is harmless: workers drop entries of paused
        // jobs.
        if (outcome === 'done') await store.queues.remove('optimize', id);
        break; // If a worker was faster, the job runs by now.
      }
      case 'running': {
        if (job.pauseRequested) return job;
        await store.jobs.change(id, { set: { pauseRequested: true }, statuses: ['running'] });
        await store.redis.publish(store.keys.cancels(), id);
        break;
      }
      default:
        throw refusal(job, 'paused', 'jobs that wait or run');
    }
  }
}

/**
 * Resumes a paused job: it continues from its checkpoint and ends with the same bits as a job that
 * was never paused. A requested pause is withdrawn. A job that waits or runs does not change.
 * @throws ProblemError `conflict` if the job has ended or is being canceled
 */
export async function resumeJob(store: Store, id: string): Promise<JobRecord> {
  for (;;) {
    const job = await store.jobs.get(id);
    switch (job.status) {
      case 'queued':
        return job;
      case 'running':
        if (!job.pauseRequested) return job;
        await store.jobs.change(id, {
          set: { pauseRequested: false },
          statuses: ['running'],
          expected: { pauseRequested: true },
        });
        break;
      case 'paused': {
        const set = { status: 'queued' as const, pauseRequested: false, takenAt: null };
        const events = [statusEvent('queued')];
        const outcome = await store.jobs.change(id, { set, events, statuses: ['paused'], queue: true });
        // If this fails, `requeuePending` does it.
        if (outcome === 'done') await ensureQueued(store, job).catch(() => {});
        break;
      }
      default:
        throw refusal(job, 'resumed', 'paused jobs');
    }
  }
}

function refusal({ id, status }: JobRecord, action: string, accepted: string): ProblemError {
  const state = FINAL_STATUSES.includes(status) ? `has ended already (${status})` : 'is being canceled';
  return new ProblemError('conflict', `The job ${id} ${state}; only ${accepted} can be ${action}.`);
}

/**
 * Queues a failed job again. It continues from its last checkpoint, with all that it has learned
 * and spent, and ends with the same bits as a job that never failed. Its event stream continues;
 * the `done` event of the failure is removed.
 * @param now milliseconds since 1970
 * @throws ProblemError `conflict` if the job has not failed or its deadline has passed; `gone` if
 * it was deleted or is being deleted
 */
export async function retryJob(store: Store, blobs: BlobStore, id: string, now: number): Promise<JobRecord> {
  const job = await store.jobs.get(id);
  if (job.status !== 'failed') {
    throw new ProblemError(
      'conflict',
      `The job ${id} is ${job.status}; only jobs that have failed can be retried.`,
    );
  }
  if (job.deadline && Date.parse(job.deadline) <= now) {
    throw new ProblemError(
      'conflict',
      `The deadline of the job ${id}, ${job.deadline}, has passed; ` +
        'create a new job, with a later deadline or none.',
    );
  }
  // Before the job waits again: if Redis is lost later, reindexing must not restore the failure.
  await blobs.delete(recordKey(id));
  const outcome = await store.jobs.change(id, {
    set: reopenedFields(job),
    events: [statusEvent('queued')],
    statuses: ['failed'],
    queue: true,
    reopen: true,
  });
  if (outcome === 'missing') {
    throw new ProblemError(
      'gone',
      `The job ${id} was deleted, because its retention has ended. Create a new one.`,
    );
  }
  if (outcome === 'done') {
    // If this fails, `requeuePending` does it.
    await ensureQueued(store, job).catch(() => {});
  } else {
    // Another request has retried the job, and it may have failed again since: the archive needs
    // its record then. If this fails, the sweep does it.
    await archiveEnded(store, blobs, id).catch(() => {});
  }
  return store.jobs.get(id);
}

/** The fields of an ended job that is queued again. */
export function reopenedFields(job: JobRecord): Partial<JobRecord> {
  return {
    status: 'queued',
    finishedAt: null,
    error: null,
    takenAt: null,
    outOfMemory: null,
    storageAway: null,
    pauseRequested: false,
    progress: { ...job.progress, stage: 'waiting' },
  };
}
