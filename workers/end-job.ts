import { UnrecoverableError } from 'bullmq';
import { derivedId } from '../src/contract/ids.ts';
import { ProblemError, problemOf } from '../src/contract/problem.ts';
import type { JobRecord, PolicyRecord } from '../src/contract/records.ts';
import { FINAL_STATUSES } from '../src/contract/schemas/job.ts';
import { viewJob } from '../src/contract/views.ts';
import { archiveEnded, archiveJob } from '../src/jobs/archive.ts';
import { RewardError } from '../src/rewards/scorer.ts';
import { Checkpoints } from './checkpoints.ts';
import { openEvaluator } from './context.ts';
import { createOptimizer } from './create-optimizer.ts';
import { failJobSample } from './job-sample.ts';
import type { RunningJob } from './running-job.ts';
import { storePolicy } from './store-policy.ts';

/** The end of a job that a client canceled; what it learnt is kept when that was asked for. Nothing where it has ended already. */
export async function endCanceled(job: RunningJob): Promise<void> {
  const record = (await job.context.store.jobs.find(job.record.id)) ?? job.record;
  if (FINAL_STATUSES.includes(record.status)) return;
  await endEarly(job, record, 'canceled', record.keepPartial, ['canceling']);
}

/** The end of a job whose deadline has passed; what it learnt is kept. */
export async function endExpired(job: RunningJob): Promise<void> {
  const record = (await job.context.store.jobs.find(job.record.id)) ?? job.record;
  if (record.status === 'canceling') return endCanceled(job);
  await endEarly(job, record, 'expired', true, ['running']);
}

async function endEarly(
  job: RunningJob,
  record: JobRecord,
  status: 'canceled' | 'expired',
  keeps: boolean,
  statuses: readonly string[],
): Promise<void> {
  const kept = keeps ? await keepLearnt(job, record) : null;
  const problem = new ProblemError(
    'conflict',
    `The job ${record.id} ended (${status}) before these images were there.`,
  );
  await failJobSample(job, problemOf(problem, record.requestId ?? undefined));
  const progress = { ...record.progress, stage: 'ended' as const, secondsLeft: null };
  await end(job, status, { ...outcomeOf(kept), progress }, statuses);
  await discardCheckpoint(job, record);
}

/**
 * Gives the job back for another try from its checkpoint, or ends it with its problem and with what was learnt so far.
 * @throws the error, for the queue: as it is to be tried again, UnrecoverableError when that would not help
 */
export async function fail(job: RunningJob, error: unknown, lastTry: boolean): Promise<never> {
  const { logger } = job.context;
  if (!(error instanceof ProblemError) && !lastTry) {
    logger.warn({ err: error }, 'job will be tried again from its checkpoint');
    throw error;
  }
  logger.error({ err: error }, 'job failed');
  const record = (await job.context.store.jobs.find(job.record.id)) ?? job.record;
  // What the search has paid for is kept, if only it can be: its failure is told in any case.
  const kept = await keepLearnt(job, record).catch((reason: unknown) => {
    logger.warn({ err: reason }, 'what was learnt could not be kept');
    return null;
  });
  const problem = problemOf(known(error), record.requestId ?? undefined);
  const sampleId = await failJobSample(job, problem);
  // Its checkpoint stays: it can be tried again from there.
  const progress = { ...record.progress, stage: 'ended' as const, secondsLeft: null };
  await end(job, 'failed', { ...outcomeOf(kept), sampleId, error: problem, progress }, ['running']);
  throw new UnrecoverableError(error instanceof Error ? error.message : String(error));
}

/** A service that stayed away is nobody's secret. */
function known(error: unknown): unknown {
  return error instanceof RewardError ? new ProblemError('reward-failed', error.message) : error;
}

/**
 * The policy of what was learnt: the judged one when the job got so far, else one of its last checkpoint, without a report.
 * null: nothing was learnt.
 */
async function keepLearnt(job: RunningJob, record: JobRecord): Promise<PolicyRecord | null> {
  const judged = await job.context.store.policies.find(derivedId('pol', record.id));
  // One without a report may be of an earlier failure, from before the job was tried again.
  if (judged?.report) return judged;
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

function outcomeOf(policy: PolicyRecord | null): Pick<JobRecord, 'policyId' | 'report'> {
  return { policyId: policy?.id ?? null, report: policy?.report ?? null };
}

async function discardCheckpoint(
  { context, lease: claim }: RunningJob,
  { checkpoint }: JobRecord,
): Promise<void> {
  await new Checkpoints(context.blobs, claim, checkpoint?.key ?? null).discard();
}

/** The last change of a job: its final record goes out as the last event. */
export async function end(
  { lease: claim, context }: RunningJob,
  status: 'succeeded' | 'failed' | 'canceled' | 'expired',
  set: Partial<JobRecord>,
  statuses: readonly string[],
): Promise<void> {
  const record = await context.store.jobs.get(claim.id);
  const ended = { ...set, status, finishedAt: new Date().toISOString() };
  const events = [
    { type: 'status', data: { status, stage: 'ended' } },
    { type: 'done', data: viewJob({ ...record, ...ended }, null) },
  ];
  const { store, blobs, logger } = context;
  await archiveJob(store, blobs, { ...record, ...ended }).catch((error: unknown) => {
    if (status === 'succeeded') throw error;
    // It is told in any case; the next sweep archives it.
    logger.warn({ err: error }, 'the end of the job could not be archived');
  });
  await claim.commit({ set: ended, events }, statuses).catch(async (error: unknown) => {
    // Somebody else has the job: if it has ended there, the archive has to say what that end was.
    await archiveEnded(store, blobs, claim.id).catch(() => {});
    throw error;
  });
}
