import { UnrecoverableError } from 'bullmq';
import { derivedId } from '../src/contract/ids.ts';
import { ProblemError, problemOf } from '../src/contract/problem.ts';
import type { JobRecord, PolicyRecord } from '../src/contract/records.ts';
import { FINAL_STATUSES } from '../src/contract/schemas/job.ts';
import { viewJob } from '../src/contract/views.ts';
import { archiveEnded, archiveJob } from '../src/jobs/archive.ts';
import { Checkpoints, createOptimizer } from './checkpoints.ts';
import type { RunningJob } from './context.ts';
import { failureProblem, openEvaluator } from './evaluator.ts';
import { giveBack } from './interruption.ts';
import { failJobSample } from './job-sample.ts';
import type { Interruption } from './stop-reason.ts';
import { storePolicy } from './store-policy.ts';

/**
 * Every way in which a job ends in a worker, and what is stored of it. A job that succeeded has its
 * policy and its samples. A job that failed or expired, or was canceled with `keepPartial`, has the
 * policy that it had learned; its unfinished samples fail with it.
 */

/**
 * The last change of a job. Its final record is archived before; the data of its `done` event is
 * the final job.
 * @throws Interruption as `Lease.commit`; BlobStoreError if a success can't be archived
 */
export async function endJob(
  { lease, context, meter }: RunningJob,
  status: 'succeeded' | 'failed' | 'canceled' | 'expired',
  result: Partial<JobRecord>,
  statuses: readonly string[],
): Promise<void> {
  const { store, blobs, logger } = context;
  const record = await store.jobs.get(lease.id);
  const ended = { ...record, ...result };
  const usage = {
    images: ended.progress.images + (ended.report ? 2 * ended.reportDraws : 0),
    engineMilliseconds: meter.milliseconds,
  };
  const set = { ...result, usage, status, finishedAt: new Date().toISOString() };
  const events = [
    { type: 'status', data: { status, stage: 'ended' } },
    { type: 'done', data: viewJob({ ...record, ...set }, null) },
  ];
  await archiveJob(store, blobs, { ...record, ...set }).catch((error: unknown) => {
    if (status === 'succeeded') throw error;
    // Clients learn of the end also while storage is away; the next sweep archives it.
    logger.warn({ err: error }, 'the end of the job could not be archived');
  });
  await lease.commit({ set, events }, statuses).catch(async (error: unknown) => {
    // If another worker has ended the job, the archive has to hold that end.
    await archiveEnded(store, blobs, lease.id).catch(() => {});
    throw error;
  });
}

/**
 * Ends an interrupted job, pauses it or gives it back.
 * @throws Interruption for the queue, if the job is given back or another worker has it
 */
export async function endInterrupted(job: RunningJob, reason: Interruption): Promise<void> {
  if (reason.kind === 'canceled') return endCanceled(job);
  if (reason.kind === 'expired') return endExpired(job);
  if ((await giveBack(job, reason)) === 'canceled') await endCanceled(job);
}

/**
 * Ends a canceled job, with its partial policy if the client asked for it. A final job stays as it
 * is.
 */
export async function endCanceled(job: RunningJob): Promise<void> {
  const record = await currentRecord(job);
  if (FINAL_STATUSES.includes(record.status)) return;
  await endEarly(job, record, 'canceled', ['canceling']);
}

async function endExpired(job: RunningJob): Promise<void> {
  const record = await currentRecord(job);
  if (record.status === 'canceling') return endCanceled(job);
  await endEarly(job, record, 'expired', ['running']);
}

async function endEarly(
  job: RunningJob,
  record: JobRecord,
  status: 'canceled' | 'expired',
  statuses: readonly string[],
): Promise<void> {
  const policy = status === 'expired' || record.keepPartial ? await storePartialPolicy(job, record) : null;
  const problem = new ProblemError(
    'conflict',
    `The job ${record.id} ended (${status}) before it made these images.`,
  );
  await failJobSample(job, problemOf(problem, record.requestId ?? undefined));
  await endJob(job, status, resultOf(record, policy), statuses);
  await new Checkpoints(job.context.blobs, job.lease, record.checkpoint?.key ?? null).discard();
}

/**
 * Fails a job, or hands its error to the queue for another try from the checkpoint. The checkpoint
 * of a failed job stays, because clients may retry the job.
 * @throws the error if the queue has to try again; UnrecoverableError if the job has failed
 */
export async function failJob(job: RunningJob, error: unknown, isLastTry: boolean): Promise<never> {
  const { logger } = job.context;
  if (!(error instanceof ProblemError) && !isLastTry) {
    logger.warn({ err: error }, 'job will be tried again from its checkpoint');
    throw error;
  }
  logger.error({ err: error }, 'job failed');
  const record = await currentRecord(job);
  // A failed job keeps what it has paid for, but it fails even if that can't be stored.
  const policy = await storePartialPolicy(job, record).catch((reason: unknown) => {
    logger.warn({ err: reason }, 'the partial policy could not be stored');
    return null;
  });
  const problem = failureProblem(error, record.requestId);
  const sampleId = await failJobSample(job, problem);
  await endJob(job, 'failed', { ...resultOf(record, policy), sampleId, error: problem }, ['running']);
  throw new UnrecoverableError(error instanceof Error ? error.message : String(error));
}

async function currentRecord({ context, record }: RunningJob): Promise<JobRecord> {
  return (await context.store.jobs.find(record.id)) ?? record;
}

function resultOf(record: JobRecord, policy: PolicyRecord | null): Partial<JobRecord> {
  return {
    policyId: policy?.id ?? null,
    report: policy?.report ?? null,
    progress: { ...record.progress, stage: 'ended', secondsLeft: null },
  };
}

/**
 * The policy of a job that ends early: the judged policy if the job got so far, else a policy
 * without a report from the last checkpoint; null if there is no checkpoint.
 */
async function storePartialPolicy(job: RunningJob, record: JobRecord): Promise<PolicyRecord | null> {
  const stored = await job.context.store.policies.find(derivedId('pol', record.id));
  // A policy without a report may be from an earlier failure, before the job was retried.
  if (stored?.report) return stored;
  if (!record.checkpoint) return null;
  const checkpoints = new Checkpoints(job.context.blobs, job.lease, record.checkpoint.key);
  const evaluator = await openEvaluator(job.context, record, { warmUp: false });
  const optimizer = createOptimizer(record, evaluator);
  const search = await checkpoints.load(optimizer, record.checkpoint.sha256);
  if (!search) return null;
  return storePolicy(job, {
    distribution: optimizer.policy(),
    search,
    report: null,
    summary: optimizer.summary(),
    seconds: search.seconds,
  });
}
