import type { EvaluateOptions, Evaluation, Evaluator } from '../../src/core/evaluator.ts';
import type { Noise } from '../../src/core/noise.ts';
import { maxBatchSize } from '../../src/engine/batch-sizes.ts';
import type { RunningJob } from '../context.ts';
import { shareOut } from './coordinator.ts';
import { Results } from './results.ts';
import { deleteShareFiles } from './share-files.ts';

/**
 * A helper is late when it has had a share for this many times as long as the slowest share took
 * here, and `EXTRA_AGE_MS`.
 */
const MAX_SLOWNESS = 2;
/** Factor by which an earlier slow share counts less with each later one. */
const FORGETTING = 0.8;
/** Time for the ways through Redis and storage. */
const EXTRA_AGE_MS = 1000;

/** How noises are split. */
export interface Split {
  /** Maximum number of workers, this one included; 2 or more. */
  readonly parallelism: number;
  /** Maximum number of noises in a share: those of one graph run. */
  readonly maxShare: number;
}

/**
 * Evaluates the noises of a job on several workers: the one that has the job (the coordinator) and
 * idle ones that help (`ShareHelper`).
 *
 * The split depends on numbers of the request and of the configuration alone. So graph runs have
 * the same sizes and give the same bits, whatever workers there are; one that is alone evaluates
 * the same shares one after another. Helpers never fail the job: the coordinator evaluates what
 * they don't.
 */
export class DistributedEvaluator implements Evaluator {
  readonly shape: readonly number[];
  readonly promptEmbedding: Float32Array;
  readonly #local: Evaluator;
  readonly #job: RunningJob;
  readonly #split: Split;
  #evaluations = 0;
  #slowestMs = 0;

  /**
   * Opens the evaluator of a job that this worker has taken. Files of shares that an earlier
   * coordinator left are deleted.
   * @param local evaluates shares in this process
   */
  static async open(local: Evaluator, job: RunningJob): Promise<DistributedEvaluator> {
    const { sharing, engine } = job.context;
    const { parallelism, sampler, attempts } = job.record;
    const maxShare = maxBatchSize(
      { batchSize: sharing.batchSize, executionProviders: [engine.device.provider] },
      { latentShape: local.shape, sampler },
    );
    const evaluator = new DistributedEvaluator(local, job, { parallelism, maxShare });
    if (attempts > 0) await evaluator.#deleteFiles();
    return evaluator;
  }

  constructor(local: Evaluator, job: RunningJob, split: Split) {
    this.shape = local.shape;
    this.promptEmbedding = local.promptEmbedding;
    this.#local = local;
    this.#job = job;
    this.#split = split;
  }

  async evaluate(noises: readonly Noise[], options: EvaluateOptions): Promise<Evaluation[]> {
    const { sharing } = this.#job.context;
    const shares = splitEvenly(noises, this.#split);
    const results = new Results(shares.length);
    if (shares.length > 1 && (await this.#hasOthers())) {
      await shareOut({
        job: this.#job,
        local: this.#local,
        evaluation: `${this.#job.lease.token}-${this.#evaluations++}`,
        shares,
        options,
        results,
        maxHelpers: this.#split.parallelism - 1,
        maxAgeMs: () => MAX_SLOWNESS * this.#slowestMs + EXTRA_AGE_MS,
        onOwnShare: (milliseconds) => {
          this.#slowestMs = Math.max(FORGETTING * this.#slowestMs, milliseconds);
        },
      });
    }
    for (const index of results.missing)
      results.add(index, await this.#local.evaluate(shares[index], options), sharing.workerId);
    this.#job.pace.workers = results.workers;
    return results.inOrder();
  }

  /** Deletes the files that late helpers left. The files of a later coordinator stay. */
  async close(): Promise<void> {
    await this.#deleteFiles(this.#job.lease.token);
  }

  async #deleteFiles(leaseToken?: string): Promise<void> {
    const { blobs, logger } = this.#job.context;
    await deleteShareFiles(blobs, this.#job.lease.id, leaseToken).catch((error: unknown) =>
      logger.warn({ err: error }, 'files of shares could not be deleted; the sweep deletes them'),
    );
  }

  /** Whether there may be another worker; some that are listed may be dead. */
  async #hasOthers(): Promise<boolean> {
    const { redis, keys } = this.#job.context.store;
    return (await redis.scard(keys.workers())) > 1;
  }
}

/**
 * Splits noises into shares of the same size, except for the last one.
 * @param split shares are as many as workers, or more if graph runs are too small for that
 */
export function splitEvenly<T>(noises: readonly T[], { parallelism, maxShare }: Split): T[][] {
  const size = Math.min(maxShare, Math.ceil(noises.length / parallelism));
  return Array.from({ length: Math.ceil(noises.length / size) }, (_, i) =>
    noises.slice(i * size, (i + 1) * size),
  );
}
