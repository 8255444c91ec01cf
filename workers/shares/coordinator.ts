import { abortedWith } from '../../src/abort.ts';
import type { EvaluateOptions, Evaluator } from '../../src/core/evaluator.ts';
import type { Noise } from '../../src/core/noise.ts';
import type { NextShare } from '../../src/queue/shares.ts';
import type { RunningJob } from '../context.ts';
import type { Results } from './results.ts';
import { deleteShareFiles, readResult, shareFileKey, writeTask } from './share-files.ts';

/** One evaluation that is shared out. */
export interface SharedWork {
  readonly job: RunningJob;
  /** Evaluates shares in this process. */
  readonly local: Evaluator;
  /** Unique for each evaluation; begins with the token of the job's lease. */
  readonly evaluation: string;
  /** The noises of each share. */
  readonly shares: readonly (readonly Noise[])[];
  readonly options: EvaluateOptions;
  /** Gets the results. */
  readonly results: Results;
  /** Number of helpers at the same time. */
  readonly maxHelpers: number;
  /** Age in milliseconds from which a share that a helper has is given out again. */
  readonly maxAgeMs: () => number;
  /** Called with the duration of each share that was evaluated here. */
  readonly onOwnShare: (milliseconds: number) => void;
}

/**
 * Shares an evaluation out: offers its shares to helpers and evaluates shares itself, until all
 * have a result. It evaluates those again whose helpers are late.
 *
 * It may end before all shares have a result, if Redis or storage fail: the caller then evaluates
 * what is missing.
 * @throws the signal's reason if it is aborted; any error of the local evaluator
 */
export async function shareOut(work: SharedWork): Promise<void> {
  const { job, evaluation, options, results } = work;
  const { id: jobId } = job.lease;
  const { shares, feed, workerId: coordinator } = job.context.sharing;
  let finished: number | null = 0;

  /** Takes the results so far, and then the next share. */
  const step = async (): Promise<NextShare> => {
    try {
      await collect(work);
      if (results.missing.length === 0) return { kind: 'ended' };
      const next = await shares.next(
        { jobId, evaluation, coordinator },
        { finished, maxAgeMs: work.maxAgeMs() },
      );
      finished = null;
      return next;
    } catch (error) {
      warn(work, error);
      return { kind: 'ended' };
    }
  };
  const stepUnlessWaiting = async () => {
    const next = await step();
    return next.kind === 'wait' ? null : next;
  };

  const endKeepAlive = shares.keepAlive(jobId);
  // Files are written while the first share is evaluated.
  const opening = open(work).catch((error: unknown) => {
    warn(work, error);
    return false;
  });
  try {
    await evaluateOwn(work, 0);
    if (!(await opening)) return;
    for (let next = await step(); next.kind !== 'ended'; ) {
      options.signal?.throwIfAborted();
      if (next.kind === 'taken') {
        await evaluateOwn(work, next.index);
        finished = next.index;
        next = await step();
      } else {
        const changed = await feed.waitFor(jobId, next.milliseconds, stepUnlessWaiting, options.signal);
        next = changed ?? (await step());
      }
    }
    await collect(work).catch((error: unknown) => warn(work, error));
  } finally {
    endKeepAlive();
    await opening;
    await close(work).catch((error: unknown) => warn(work, error));
  }
}

async function open({ job, evaluation, shares, options, maxHelpers }: SharedWork): Promise<boolean> {
  const { lease, record, context } = job;
  const { sharing, blobs } = context;
  const tasks = shares.map((noises, index) => {
    const key = shareFileKey({ jobId: lease.id, evaluation, index });
    return index === 0 ? '' : writeTask(blobs, key, noises, options);
  });
  return sharing.shares.open({
    jobId: lease.id,
    tenant: record.tenant,
    evaluation,
    leaseToken: lease.token,
    kind: sharing.kind,
    maxHelpers,
    coordinator: sharing.workerId,
    tasks: await Promise.all(tasks),
  });
}

/** Evaluates a share here, unless a helper ends it before. */
async function evaluateOwn(work: SharedWork, index: number): Promise<void> {
  const { job, local, shares, options, results, onOwnShare } = work;
  const { feed, workerId } = job.context.sharing;
  const stop = options.signal ? abortedWith(options.signal) : new AbortController();
  const stopWhenSuperseded = async () => {
    await collect(work);
    if (results.has(index)) stop.abort();
  };
  const unsubscribe = feed.on(job.lease.id, () => void stopWhenSuperseded().catch(() => {}));
  const began = performance.now();
  try {
    const evaluations = await local.evaluate(shares[index], { ...options, signal: stop.signal });
    onOwnShare(performance.now() - began);
    results.add(index, evaluations, workerId);
  } catch (error) {
    if (options.signal?.aborted || !stop.signal.aborted) throw error;
  } finally {
    unsubscribe();
    stop.abort(); // the job's signal forgets it
  }
}

/** Takes the results of helpers. */
async function collect(work: SharedWork): Promise<void> {
  const { job, evaluation, results } = work;
  const { blobs, sharing } = job.context;
  const { missing } = results;
  const found = await sharing.shares.results(job.lease.id, evaluation, missing);
  await Promise.all(
    missing.map(async (index, i) => {
      const json = found?.[i];
      if (!json) return;
      try {
        const { evaluations, worker } = await readResult(blobs, json);
        results.add(index, evaluations, worker);
      } catch (error) {
        warn(work, error); // the caller evaluates the share
      }
    }),
  );
}

/** Ends the evaluation in Redis. The files of its shares are deleted soon after. */
async function close(work: SharedWork): Promise<void> {
  const { job, evaluation } = work;
  const { sharing, blobs } = job.context;
  await sharing.shares.close(job.lease.id, evaluation);
  void deleteShareFiles(blobs, job.lease.id, evaluation).catch((error: unknown) => warn(work, error));
}

function warn({ job }: SharedWork, err: unknown): void {
  job.context.logger.warn({ err }, 'an evaluation could not be shared; this worker makes up for it');
}
