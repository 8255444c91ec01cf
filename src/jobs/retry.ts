import { ProblemError } from '../contract/problem.ts';
import type { JobRecord } from '../contract/records.ts';
import type { BlobStore } from '../storage/blobs.ts';
import type { Store } from '../store/store.ts';
import { archiveEnded, recordKey } from './archive.ts';
import { ensureQueued } from './requeue.ts';

/**
 * Queues a failed job again. It goes on from its last checkpoint, with what it has learnt and spent so far, to the same bits as
 * one that never failed; its place among the events is kept, but that it had ended is taken back.
 * @param now milliseconds since 1970
 * @returns the job as it is then
 * @throws ProblemError `conflict` when it has not failed, or its deadline has passed; `gone` when it was deleted, or is being
 */
export async function retryJob(store: Store, blobs: BlobStore, id: string, now: number): Promise<JobRecord> {
  const job = await store.jobs.get(id);
  if (job.status !== 'failed')
    throw new ProblemError(
      'conflict',
      `The job ${id} is ${job.status}; only jobs that have failed can be tried again.`,
    );
  if (job.deadline && Date.parse(job.deadline) <= now)
    throw new ProblemError(
      'conflict',
      `The deadline of the job ${id}, ${job.deadline}, has passed; queue a new one, with a later deadline or none.`,
    );
  const set: Partial<JobRecord> = {
    status: 'queued',
    finishedAt: null,
    error: null,
    takenAt: null,
    outOfMemory: null,
    storageAway: null,
    pauseRequested: false,
    progress: { ...job.progress, stage: 'waiting' },
  };
  // Before it waits again: were Redis lost from here on, storage must not tell of an end that was taken back.
  await blobs.delete(recordKey(id));
  const events = [{ type: 'status', data: { status: 'queued', stage: 'waiting' } }];
  const outcome = await store.jobs.change(id, {
    set,
    events,
    statuses: ['failed'],
    queue: true,
    reopen: true,
  });
  if (outcome === 'missing')
    throw new ProblemError('gone', `The job ${id} was deleted: it was beyond what is kept. Queue a new one.`);
  // Of two that retry it at once the second finds it queued, and changes nothing.
  if (outcome === 'done')
    await ensureQueued(store, job).catch(() => {}); // it is remembered
  else await archiveEnded(store, blobs, id).catch(() => {}); // it may have failed again meanwhile; else the sweep does it
  return store.jobs.get(id);
}
