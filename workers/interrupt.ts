import type { JobRecord } from '../src/contract/records.ts';
import { endCanceled, endExpired } from './end-job.ts';
import { Interruption } from './interruption.ts';
import type { RunningJob } from './running-job.ts';
import { waitForStorage } from './storage-patience.ts';

/**
 * What becomes of a job that was cut short: it ends, pauses, or is given back.
 * @throws Interruption when the queue has to know: the job is given back, or another worker has it
 */
export async function interrupt(job: RunningJob, reason: Interruption): Promise<void> {
  switch (reason.kind) {
    case 'canceled':
      return endCanceled(job);
    case 'expired':
      return endExpired(job);
    case 'lost':
      throw reason;
    case 'paused':
      if (await pause(job)) return;
      break; // it was resumed or canceled meanwhile
  }
  const { lease: claim } = job;
  const set = {
    status: 'queued' as const,
    ...(reason.kind === 'memory' ? {} : { takenAt: untaken(job.record) }),
  };
  const events = [{ type: 'status', data: { status: 'queued', stage: 'waiting' } }];
  const outcome = await claim.attempt({ set, events }, ['running']);
  if (outcome === 'wrong-status') return endCanceled(job);
  throw outcome === 'done' ? reason : new Interruption('lost');
}

/** Pauses it, unless that is no longer wanted. */
async function pause({ lease: claim, record }: RunningJob): Promise<boolean> {
  const outcome = await claim.attempt(
    {
      set: { status: 'paused', pauseRequested: false, takenAt: untaken(record) },
      events: [{ type: 'status', data: { status: 'paused', stage: 'waiting' } }],
      expects: { pauseRequested: true },
    },
    ['running'],
  );
  if (outcome === 'not-owner' || outcome === 'missing') throw new Interruption('lost');
  return outcome === 'done';
}

/** That a worker took it up does not count against a job that did not kill it. */
function untaken({ checkpoint, takenAt }: JobRecord): JobRecord['takenAt'] {
  return takenAt && takenAt.iteration === checkpoint?.iteration ? takenAt : null;
}

/** An interruption when the job is to wait until storage takes what it writes; else the error. */
export async function judgeStorage({ context, lease: claim }: RunningJob, error: unknown): Promise<unknown> {
  const { storageAway } = (await context.store.jobs.find(claim.id)) ?? {};
  const waiting = waitForStorage(error, storageAway);
  if (waiting === null) return error;
  context.logger.warn({ err: error }, 'storage is away; the job waits for it');
  await claim.commit({ set: waiting }, ['running', 'canceling']);
  return new Interruption('storage');
}
