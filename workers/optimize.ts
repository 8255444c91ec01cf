import { ProblemError } from '../src/contract/problem.ts';
import type { JobRecord } from '../src/contract/records.ts';
import { FINAL_STATUSES } from '../src/contract/schemas/job.ts';
import type { Report } from '../src/contract/schemas/policy.ts';
import type { Evaluation, Evaluator } from '../src/core/evaluator.ts';
import { OutOfMemoryError } from '../src/engine/graphs/engine-error.ts';
import { termNames } from '../src/jobs/resolve-bundles.ts';
import type { NoiseDistribution } from '../src/numerics/distributions/noise-distribution.ts';
import { mean, standardError } from '../src/numerics/statistics.ts';
import { thumbnailFeatures } from '../src/pictures/features.ts';
import { judgeDistribution } from '../src/search/judge-distribution.ts';
import { runSearch } from '../src/search/run-search.ts';
import { Checkpoints } from './checkpoints.ts';
import { openEvaluator, type WorkerContext } from './context.ts';
import { createOptimizer } from './create-optimizer.ts';
import { drawSamples } from './draw-samples.ts';
import { end, endCanceled, fail } from './end-job.ts';
import { interrupt, judgeStorage } from './interrupt.ts';
import { Interruption } from './interruption.ts';
import { publishIteration } from './iteration.ts';
import { endJobSample, openJobSample } from './job-sample.ts';
import { Lease } from './lease.ts';
import { progressOf } from './progress.ts';
import type { RunningJob } from './running-job.ts';
import { storePolicy } from './store-policy.ts';
import { watchForInterruption } from './watch-interruptions.ts';

/** A worker takes a job up so many times without getting further before it is given up as poisonous. */
const MAX_FRUITLESS_ATTEMPTS = 10;
/** Milliseconds between two checkpoints. */
const CHECKPOINT_INTERVAL = 1000;

/**
 * One optimisation job, from its last checkpoint to its end: search, judge on fresh draws, store the policy, draw samples.
 * @throws Interruption when it was cut short and the queue has to know; UnrecoverableError when the job failed for good
 */
export async function optimize(
  context: WorkerContext,
  jobId: string,
  lastTry: boolean,
  lock: AbortSignal | undefined,
): Promise<void> {
  const { store } = context;
  const record = await store.jobs.find(jobId);
  if (!record) return;
  if (FINAL_STATUSES.includes(record.status)) return await tidyUp(context, record);
  const logger = context.logger.child({ jobId, requestId: record.requestId ?? undefined });
  const claim = new Lease(store.jobs, jobId);
  const job: RunningJob = { context: { ...context, logger }, lease: claim, record };
  const stop = new AbortController();
  context.recycling.begin();
  const watch = watchForInterruption(job, stop, lock);
  try {
    if (!(await takeUp(job))) return;
    await watch.look();
    stop.signal.throwIfAborted();
    await work(job, stop.signal);
    logger.info('job ended');
  } catch (error) {
    const reason = stop.signal.aborted
      ? stop.signal.reason
      : await judgeMemory(job, await judgeStorage(job, error));
    if (!(reason instanceof Interruption)) return await fail(job, reason, lastTry);
    logger.info({ reason: reason.kind }, 'job interrupted');
    await interrupt(job, reason);
  } finally {
    watch.end();
  }
}

/** What a worker that died just after a job's end may have left. */
async function tidyUp({ blobs, store }: WorkerContext, record: JobRecord): Promise<void> {
  if (record.status !== 'failed')
    await new Checkpoints(blobs, new Lease(store.jobs, record.id), null).discard();
}

/** An interruption when the job is to go on in a fresh process for want of memory; else what it fails with. */
async function judgeMemory({ context, lease: claim }: RunningJob, error: unknown): Promise<unknown> {
  if (!(error instanceof OutOfMemoryError)) return error;
  const record = await context.store.jobs.get(claim.id);
  const iteration = record.checkpoint?.iteration;
  const times = record.outOfMemory?.iteration === iteration ? (record.outOfMemory?.times ?? 0) : 0;
  const verdict = context.recycling.judge(error, times);
  if ('problem' in verdict) return verdict.problem;
  context.logger.warn({ err: error }, 'out of memory; the job goes on in a fresh process');
  // That it was taken up here does not count against it.
  const taken = record.takenAt?.iteration === iteration ? (record.takenAt?.times ?? 0) : 0;
  const takenAt = { iteration, times: Math.max(0, taken - 1) };
  await claim.commit({ set: { outOfMemory: { iteration, times: times + 1 }, takenAt } }, ['running']);
  return verdict.interruption;
}

/** False when there is nothing to be done: it was paused or ended meanwhile. Ends it when it is to be canceled. */
async function takeUp(job: RunningJob): Promise<boolean> {
  const { lease: claim, record, context } = job;
  const attempts = record.attempts + 1;
  const fruitless =
    record.checkpoint?.iteration === record.takenAt?.iteration ? (record.takenAt?.times ?? 0) + 1 : 1;
  const set = {
    attempts,
    takenAt: { iteration: record.checkpoint?.iteration, times: fruitless },
    startedAt: record.startedAt ?? new Date().toISOString(),
  };
  const events = [{ type: 'status', data: { status: 'running', stage: 'searching' } }];
  if (!(await claim.take(['queued', 'running'], { set: { ...set, status: 'running' }, events }))) {
    if (await claim.take(['canceling'], { set })) await endCanceled(job);
    return false;
  }
  context.logger.info({ attempt: attempts, checkpoint: record.checkpoint?.iteration ?? 0 }, 'job taken up');
  if (fruitless > MAX_FRUITLESS_ATTEMPTS) {
    throw new ProblemError(
      'worker-lost',
      `Workers died ${MAX_FRUITLESS_ATTEMPTS} times at the same place of this job; it is not tried again. The workers' logs have the reason.`,
    );
  }
  return true;
}

async function work(job: RunningJob, signal: AbortSignal): Promise<void> {
  const { context, lease: claim, record } = job;
  const checkpoints = new Checkpoints(context.blobs, claim, record.checkpoint?.key ?? null);
  const evaluator = await openEvaluator(context, record);
  const optimizer = createOptimizer(record, evaluator);
  const start = await checkpoints.load(optimizer, record.checkpoint?.sha256);
  signal.throwIfAborted();

  let latest = start;
  // Where workers have died on it, every iteration counts.
  const atLeastEvery = record.takenAt ? 0 : CHECKPOINT_INTERVAL;
  const search = await runSearch({
    optimizer,
    evaluator,
    budget: record.budget,
    now: () => performance.now(),
    start,
    signal,
    onIteration: async (iteration) => {
      latest = iteration.progress;
      await publishIteration(job, iteration);
      await checkpoints.save(optimizer, iteration.progress, { atLeastEvery });
    },
  }).catch(async (error: unknown) => {
    // Whatever cut it short, what was paid for since the last checkpoint is kept, if only it can be.
    if (latest) await checkpoints.save(optimizer, latest, { atLeastEvery: 0 }).catch(() => {});
    throw error;
  });
  await checkpoints.save(optimizer, search, { atLeastEvery: 0 });

  await claim.commit(
    {
      set: { progress: progressOf(record, search, 'judging', context.throughput) },
      events: [{ type: 'status', data: { status: 'running', stage: 'judging' } }],
    },
    ['running'],
  );
  const began = performance.now();
  const distribution = optimizer.policy();
  const report = await judge(record, distribution, evaluator, signal);
  const seconds = search.seconds + (performance.now() - began) / 1000;
  const policy = await storePolicy(job, {
    distribution,
    search,
    report,
    summary: optimizer.summary(),
    seconds,
  });

  let sampleId: string | null = null;
  if (record.samples > 0) {
    await claim.commit(
      {
        set: { progress: progressOf(record, search, 'sampling', context.throughput) },
        events: [{ type: 'status', data: { status: 'running', stage: 'sampling' } }],
      },
      ['running'],
    );
    const sample = await openJobSample(job, policy.id);
    sampleId = sample.id;
    if (sample.status === 'running') {
      const images = await drawSamples(context, {
        sampleId,
        settings: sample,
        distribution,
        evaluator,
        signal,
      });
      await endJobSample(job, sample, images);
    }
  }
  await end(
    job,
    'succeeded',
    {
      report,
      policyId: policy.id,
      sampleId,
      progress: progressOf(record, search, 'ended', context.throughput),
    },
    ['running'],
  );
  await checkpoints.discard();
}

/** The report; null when the job asked for none. */
async function judge(
  record: JobRecord,
  distribution: NoiseDistribution,
  evaluator: Evaluator,
  signal: AbortSignal,
): Promise<Report | null> {
  const { seed, reportDraws: draws } = record;
  if (draws === 0) return null;
  const judged = await judgeDistribution({
    distribution,
    evaluator,
    seed,
    features: thumbnailFeatures,
    draws,
    signal,
  });
  return { ...judged.report, ...reportTerms(record, judged) };
}

/** Means of each term's scores, where the reward has several. */
function reportTerms(
  { reward }: JobRecord,
  { base, learned }: { readonly base: readonly Evaluation[]; readonly learned: readonly Evaluation[] },
): Pick<Report, 'terms'> {
  const names = termNames(reward);
  if (!names) return {};
  const estimate = (evaluations: readonly Evaluation[], k: number) => {
    const scores = evaluations.map(({ terms }) => terms?.[k] ?? 0);
    return { mean: mean(scores), standardError: standardError(scores) };
  };
  return {
    terms: Object.fromEntries(
      names.map((name, k) => [name, { base: estimate(base, k), learned: estimate(learned, k) }]),
    ),
  };
}
