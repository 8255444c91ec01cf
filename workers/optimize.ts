import { ProblemError } from '../src/contract/problem.ts';
import type { JobRecord } from '../src/contract/records.ts';
import { FINAL_STATUSES } from '../src/contract/schemas/job.ts';
import type { Report } from '../src/contract/schemas/policy.ts';
import type { Evaluator } from '../src/core/evaluator.ts';
import { termNames } from '../src/jobs/choose-bundles.ts';
import { settleParameters } from '../src/jobs/resolve-optimizer.ts';
import type { NoiseDistribution } from '../src/numerics/distributions/noise-distribution.ts';
import type { Optimizer } from '../src/numerics/optimizers/optimizer.ts';
import { thumbnailFeatures } from '../src/pictures/thumbnail-features.ts';
import { evaluateDistribution } from '../src/search/distribution-report.ts';
import { runSearch, type SearchProgress } from '../src/search/search-loop.ts';
import { Checkpoints, createOptimizer } from './checkpoints.ts';
import type { JobPace, RunningJob, WorkerContext } from './context.ts';
import { endCanceled, endInterrupted, endJob, failJob } from './end-job.ts';
import { EngineMeter } from './engine-meter.ts';
import { openEvaluator } from './evaluator.ts';
import { sampleImages } from './images.ts';
import { classifyJobError, timesAtCheckpoint, watchForInterruption } from './interruption.ts';
import { endJobSample, openJobSample } from './job-sample.ts';
import { Lease } from './lease.ts';
import { measureProgress, publishIteration, publishStage } from './progress.ts';
import { DistributedEvaluator } from './shares/distributed-evaluator.ts';
import { Slice } from './slice.ts';
import { Interruption } from './stop-reason.ts';
import { storePolicy } from './store-policy.ts';
import { Throughput, withThroughput } from './throughput.ts';
import { WorkTrace } from './work-trace.ts';

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
  const job: RunningJob = {
    context: { ...context, logger },
    lease: new Lease(store.jobs, jobId),
    record,
    pace: paceOf(context, record),
    meter: new EngineMeter(record.usage?.engineMilliseconds),
    trace: new WorkTrace(context.tracer, 'job', record.traceparent, {
      'findery.job_id': jobId,
      'findery.tenant': record.tenant,
      'findery.model': record.model,
      'findery.attempt': record.attempts + 1,
    }),
  };
  let failure: string | undefined;
  const stop = new AbortController();
  context.recycling.countWork();
  const watch = watchForInterruption(job, stop, lockLost);
  try {
    if (!(await take(job))) return;
    await watch.checkRequests();
    stop.signal.throwIfAborted();
    await run(await settleOptimizer(job), stop.signal);
    logger.info('job ended');
  } catch (error) {
    const reason = stop.signal.aborted ? stop.signal.reason : await classifyJobError(job, error);
    failure = reason instanceof Error ? reason.message : String(reason);
    if (!(reason instanceof Interruption)) return await failJob(job, reason, isLastTry);
    logger.info({ reason: reason.kind }, 'job interrupted');
    await endInterrupted(job, reason);
  } finally {
    watch.end();
    job.trace.end(failure);
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

/** A job that this worker does alone is as fast as the worker. */
function paceOf({ throughput }: WorkerContext, { parallelism, progress }: JobRecord): JobPace {
  if (parallelism === 1) return { throughput, workers: 1 };
  return { throughput: new Throughput(), workers: progress.workers };
}

/**
 * Sets the parameters of the optimizer that the request left to the device, and stores them before
 * they are used, so that the job has the same ones on every later worker.
 */
async function settleOptimizer(job: RunningJob): Promise<RunningJob> {
  const { context, lease } = job;
  if (!job.record.deviceParameters?.length) return job;
  // Read under the lease: an earlier worker may have set them after this one had read the record.
  const record = await context.store.jobs.get(lease.id);
  const { deviceParameters = [] } = record;
  const optimizer = settleParameters(record.optimizer, deviceParameters, context.engine.device.provider);
  await lease.commit({ set: { optimizer, deviceParameters: [] } }, ['running']);
  return { ...job, record: { ...job.record, optimizer } };
}

/** All stages of the job. @throws the reason of `signal` soon after it is aborted */
async function run(job: RunningJob, signal: AbortSignal): Promise<void> {
  const slice = new Slice(job.context.store.queues, job.record, job.context.sliceSeconds);
  const count = countOf(job.record);
  const local = await openEvaluator(job.context, job.record, { count, observed: job });
  if (job.record.parallelism === 1) return runWith(local, job, slice, signal);
  const distributed = await DistributedEvaluator.open(local, job);
  try {
    const evaluator = withThroughput(distributed, (...work) => job.pace.throughput.add(...work));
    await runWith(evaluator, job, slice, signal);
  } finally {
    await distributed.close();
  }
}

async function runWith(
  evaluator: Evaluator,
  job: RunningJob,
  slice: Slice,
  signal: AbortSignal,
): Promise<void> {
  const { context, lease, record, pace, trace } = job;
  const checkpoints = new Checkpoints(context.blobs, lease, record.checkpoint?.key ?? null);
  const optimizer = createOptimizer(record, evaluator);
  const search = await runStoredSearch(job, { optimizer, evaluator, checkpoints, slice, signal });

  await publishStage(job, search, 'judging');
  const began = performance.now();
  const distribution = optimizer.policy();
  const report = await createReport(record, distribution, evaluator, signal);
  if (report) context.metrics.addReport(record.model, record.reward, report);
  const seconds = search.seconds + (performance.now() - began) / 1000;
  const summary = optimizer.summary();
  const learned = { distribution, search, report, summary, seconds };
  const policy = await trace.step('store', () => storePolicy(job, learned));

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
  const progress = measureProgress(record, search, 'ended', pace);
  const result = { report, policyId: policy.id, sampleId, progress };
  await trace.step('store', () => endJob(job, 'succeeded', result, ['running']));
  await checkpoints.discard();
}

/** Noises that an iteration evaluates; undefined: unknown. */
function countOf({ optimizer, budget }: JobRecord): number | undefined {
  const { batchSize } = optimizer;
  return typeof batchSize === 'number' ? Math.min(batchSize, budget.images) : undefined;
}

/** The search, from the checkpoint on; it publishes each iteration and stores checkpoints. */
async function runStoredSearch(
  job: RunningJob,
  {
    optimizer,
    evaluator,
    checkpoints,
    slice,
    signal,
  }: {
    readonly optimizer: Optimizer;
    readonly evaluator: Evaluator;
    readonly checkpoints: Checkpoints;
    readonly slice: Slice;
    readonly signal: AbortSignal;
  },
): Promise<SearchProgress> {
  const { record, meter, trace } = job;
  const save = (progress: SearchProgress, minIntervalMs: number) =>
    checkpoints.save(optimizer, progress, { minIntervalMs, engineMilliseconds: meter.milliseconds });
  const start = await checkpoints.load(optimizer, record.checkpoint?.sha256);
  signal.throwIfAborted();
  // The newest state that may become a checkpoint: a job that continues from an iteration that was
  // not published would never publish it.
  let latest: SearchProgress | undefined = start;
  slice.begin();
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
      await trace.step('store', async () => {
        await publishIteration(job, iteration);
        latest = iteration.progress;
        await save(iteration.progress, minIntervalMs);
      });
      if (iteration.progress.rewards.length < record.budget.images) await slice.check();
    },
  }).catch(async (error: unknown) => {
    // Whatever stopped the search, the images since the last checkpoint are paid for.
    if (latest) await save(latest, 0).catch(() => {});
    throw error;
  });
  await save(search, 0);
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
