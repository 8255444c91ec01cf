import { ProblemError } from '../contract/problem.ts';
import type { JobRecord } from '../contract/records.ts';
import { FINAL_STATUSES } from '../contract/schemas/job.ts';
import type { Store } from '../store/store.ts';
import { ensureQueued } from './requeue.ts';

const statusEvent = (status: 'paused' | 'queued') => ({ type: 'status', data: { status, stage: 'waiting' } });

/**
 * Pauses a job: at once where it waits; one that runs is asked to, checkpoints within one denoising step and gives its worker
 * back. Again for one that is paused, or was asked: no change.
 * @returns the job as it is then; `paused`, or `running` for as long as its worker takes
 * @throws ProblemError `conflict` when it has ended or is being canceled
 */
export async function pauseJob(store: Store, id: string): Promise<JobRecord> {
  for (;;) {
    const job = await store.jobs.get(id);
    switch (job.status) {
      case 'paused':
        return job;
      case 'queued': {
        const events = [statusEvent('paused')];
        const outcome = await store.jobs.change(id, {
          set: { status: 'paused' },
          events,
          statuses: ['queued'],
        });
        // An entry that a crash leaves in the queue is harmless: a worker drops what is paused.
        if (outcome === 'done') await store.queues.remove('optimize', id);
        break; // a worker came first: then it runs
      }
      case 'running': {
        if (job.pauseRequested) return job;
        await store.jobs.change(id, { set: { pauseRequested: true }, statuses: ['running'] });
        await store.redis.publish(store.keys.cancels(), id);
        break;
      }
      default:
        throw refuse(job, 'paused', 'jobs that wait or run');
    }
  }
}

/**
 * Lets a paused job go on from its checkpoint, to the same bits as one that was never paused. Where it waits or runs: no change,
 * but that a pause that was asked for does not happen.
 * @returns the job as it is then
 * @throws ProblemError `conflict` when it has ended or is being canceled
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
          expects: { pauseRequested: true },
        });
        break;
      case 'paused': {
        const set = { status: 'queued' as const, pauseRequested: false, takenAt: null };
        const events = [statusEvent('queued')];
        const outcome = await store.jobs.change(id, { set, events, statuses: ['paused'], queue: true });
        if (outcome === 'done') await ensureQueued(store, job).catch(() => {}); // it is remembered
        break;
      }
      default:
        throw refuse(job, 'resumed', 'paused jobs');
    }
  }
}

function refuse({ id, status }: JobRecord, what: string, which: string): ProblemError {
  const state = FINAL_STATUSES.includes(status) ? `has ended already (${status})` : 'is being canceled';
  return new ProblemError('conflict', `The job ${id} ${state}; only ${which} can be ${what}.`);
}
