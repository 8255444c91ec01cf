import { ProblemError } from '../src/contract/problem.ts';
import type { JobRecord } from '../src/contract/records.ts';
import { FINAL_STATUSES } from '../src/contract/schemas/job.ts';
import type { Report } from '../src/contract/schemas/policy.ts';
import type { Evaluator } from '../src/core/evaluator.ts';
import { termNames } from '../src/jobs/choose-bundles.ts';
import type { NoiseDistribution } from '../src/numerics/distributions/noise-distribution.ts';
import type { Optimizer } from '../src/numerics/optimizers/optimizer.ts';
import { thumbnailFeatures } from '../src/pictures/thumbnail-features.ts';
import { evaluateDistribution } from '../src/search/distribution-report.ts';
import { runSearch, type SearchProgress } from '../src/search/search-loop.ts';
import { Checkpoints, createOptimizer } from './checkpoints.ts';
import type { RunningJob, WorkerContext } from './context.ts';
import { endCanceled, endInterrupted, endJob, failJob } from './end-job.ts';
import { openEvaluator } from './evaluator.ts';
import { sampleImages } from './images.ts';
import { classifyJobError, timesAtCheckpoint, watchForInterruption } from './interruption.ts';
import { endJobSample, openJobSample } from './job-sample.ts';
import { Lease } from './lease.ts';
import { measureProgress, publishIteration, publishStage } from './progress.ts';
import { Interruption } from './stop-reason.ts';
import { storePolicy } from './store-policy.ts';

/** Attempts at the same checkpoint without progress before a job fails: it may kill its workers. */
const MAX_FRUITLESS_ATTEMPTS = 10;
/** The interval between two checkpoints. */
const CHECKPOINT_INTERVAL_MS = 1000;

/**
 * Processes one optimization job from its last checkpoint to its end: search, report on new
 * samples, policy, samples.
 * @param isLastTry whether the queue offers the job no more after an error
 * @param lockLost aborted when the queue has given the job to another worker
 * @throws Interruption if the job is given back; UnrecoverableError if it has failed; other errors
 * if the queue has to try again
 */
export async function optimize(
  context: WorkerContext,
  jobId: string,
  isLastTry: boolean,
  lockLost: AbortSignal | undefined,
): Promise<void> {
  const { store } = context;
  const record = await store.jobs.find(jobId);
  if (!record) return;
  if (FINAL_STATUSES.includes(record.status)) return await discardLeftovers(context, record);
  const logger = context.logger.child({ jobId, requestId: record.requestId ?? undefined });
  const job: RunningJob = { context: { ...context, logger }, lease: new Lease(store.jobs, jobId), record };
  const stop = new AbortController();
  context.recycling.countWork();
  const watch = watchForInterruption(job, stop, lockLost);
  try {
    if (!(await take(job))) return;
    await watch.checkRequests();
    stop.signal.throwIfAborted();
    await run(job, stop.signal);
    logger.info('job ended');
  } catch (error) {
    const reason = stop.signal.aborted ? stop.signal.reason : await classifyJobError(job, error);
    if (!(reason instanceof Interruption)) return await failJob(job, reason, isLastTry);
    logger.info({ reason: reason.kind }, 'job interrupted');
    await endInterrupted(job, reason);
  } finally {
    watch.end();
  }
}

/**
 * Deletes the checkpoints of a job whose worker died after the job's end. Failed jobs need theirs.
 */
async function discardLeftovers({ blobs, store }: WorkerContext, record: JobRecord): Promise<void> {
  if (record.status === 'failed') return;
  await new Checkpoints(blobs, new Lease(store.jobs, record.id), null).discard();
}

/**
 * Takes the job. A job that is being canceled ends here.
 * @returns false if there is nothing left to do: the job was paused or has ended
 * @throws ProblemError `worker-lost` after too many attempts without progress
 */
async function take(job: RunningJob): Promise<boolean> {
  const { lease, record, context } = job;
  const attempts = record.attempts + 1;
  const fruitless = timesAtCheckpoint(record, record.takenAt) + 1;
  const set = {
    attempts,
    takenAt: { iteration: record.checkpoint?.iteration, times: fruitless },
    startedAt: record.startedAt ?? new Date().toISOString(),
  };
  const events = [{ type: 'status', data: { status: 'running', stage: 'searching' } }];
  if (!(await lease.take(['queued', 'running'], { set: { ...set, status: 'running' }, events }))) {
    if (await lease.take(['canceling'], { set })) await endCanceled(job);
    return false;
  }
  context.logger.info({ attempt: attempts, checkpoint: record.checkpoint?.iteration ?? 0 }, 'job taken');
  if (fruitless > MAX_FRUITLESS_ATTEMPTS) {
    throw new ProblemError(
      'worker-lost',
      `Workers died ${MAX_FRUITLESS_ATTEMPTS} times at the same place of this job; ` +
        "it is not tried again. The workers' logs have the reason.",
    );
  }
  return true;
}

/** All stages of the job. @throws the reason of `signal` soon after it is aborted */
async function run(job: RunningJob, signal: AbortSignal): Promise<void> {
  const { context, lease, record } = job;
  const checkpoints = new Checkpoints(context.blobs, lease, record.checkpoint?.key ?? null);
  const evaluator = await openEvaluator(context, record);
  const optimizer = createOptimizer(record, evaluator);
  const search = await runStoredSearch(job, { optimizer, evaluator, checkpoints, signal });

  await publishStage(job, search, 'judging');
  const began = performance.now();
  const distribution = optimizer.policy();
  const report = await createReport(record, distribution, evaluator, signal);
  const seconds = search.seconds + (performance.now() - began) / 1000;
  const summary = optimizer.summary();
  const policy = await storePolicy(job, { distribution, search, report, summary, seconds });

  let sampleId: string | null = null;
  if (record.samples > 0) {
    await publishStage(job, search, 'sampling');
    const sample = await openJobSample(job, policy.id);
    sampleId = sample.id;
    if (sample.status === 'running') {
      const parameters = { sampleId, settings: sample, distribution, evaluator, signal };
      await endJobSample(job, sample, await sampleImages(context, parameters));
    }
  }
  const progress = measureProgress(record, search, 'ended', context.throughput);
  await endJob(job, 'succeeded', { report, policyId: policy.id, sampleId, progress }, ['running']);
  await checkpoints.discard();
}

/** The search, from the checkpoint on; it publishes each iteration and stores checkpoints. */
async function runStoredSearch(
  job: RunningJob,
  {
    optimizer,
    evaluator,
    checkpoints,
    signal,
  }: {
    readonly optimizer: Optimizer;
    readonly evaluator: Evaluator;
    readonly checkpoints: Checkpoints;
    readonly signal: AbortSignal;
  },
): Promise<SearchProgress> {
  const { record } = job;
  const start = await checkpoints.load(optimizer, record.checkpoint?.sha256);
  signal.throwIfAborted();
  // The newest state that may become a checkpoint: a job that continues from an iteration that was
  // not published would never publish it.
  let latest: SearchProgress | undefined = start;
  // A job that may have killed workers stores every iteration, so that it gets further each time.
  const minIntervalMs = record.takenAt ? 0 : CHECKPOINT_INTERVAL_MS;
  const search = await runSearch({
    optimizer,
    evaluator,
    budget: record.budget,
    now: () => performance.now(),
    start,
    signal,
    onIteration: async (iteration) => {
      latest = undefined;
      await publishIteration(job, iteration);
      latest = iteration.progress;
      await checkpoints.save(optimizer, iteration.progress, { minIntervalMs });
    },
  }).catch(async (error: unknown) => {
    // Whatever stopped the search, the images since the last checkpoint are paid for.
    if (latest) await checkpoints.save(optimizer, latest, { minIntervalMs: 0 }).catch(() => {});
    throw error;
  });
  await checkpoints.save(optimizer, search, { minIntervalMs: 0 });
  return search;
}

/** The report of the job; null if its request turned the report off. */
async function createReport(
  { seed, reportDraws: draws, reward }: JobRecord,
  distribution: NoiseDistribution,
  evaluator: Evaluator,
  signal: AbortSignal,
): Promise<Report | null> {
  if (draws === 0) return null;
  return evaluateDistribution({
    distribution,
    evaluator,
    seed,
    features: thumbnailFeatures,
    samples: draws,
    termNames: termNames(reward),
    signal,
  });
}
