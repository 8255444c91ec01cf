import type { JobRecord } from '../src/contract/records.ts';
import type { Optimizer } from '../src/numerics/optimizers/optimizer.ts';
import { findOptimizer } from '../src/numerics/optimizers/registry.ts';
import type { SearchProgress } from '../src/search/search-loop.ts';
import { sha256Of } from '../src/sha256.ts';
import { type BlobStore, DamagedBlobError } from '../src/storage/blobs.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../src/storage/checkpoint-file.ts';
import type { Lease } from './lease.ts';
import { Interruption } from './stop-reason.ts';

/** Creates the optimizer of a job in its initial state. */
export function createOptimizer(
  record: JobRecord,
  evaluator: { readonly shape: readonly number[]; readonly promptEmbedding: Float32Array },
): Optimizer {
  const { name, ...parameters } = record.optimizer;
  return findOptimizer(name).create(
    {
      shape: evaluator.shape,
      seed: record.seed,
      budget: record.budget.images,
      promptEmbedding: evaluator.promptEmbedding,
    },
    parameters as Record<string, number | boolean>,
  );
}

/**
 * The checkpoints of a job: the optimizer's state and the progress of the search, in one blob. The
 * blob is written first; a fenced change of the record makes it the checkpoint. Its key contains
 * the lease's token, so a worker that lost the job can neither overwrite nor delete the blob of its
 * successor.
 */
export class Checkpoints {
  readonly #blobs: BlobStore;
  readonly #lease: Lease<JobRecord>;
  #key: string | null;
  #savedAt = performance.now();
  #savedIteration = -1;

  /** @param key of the current checkpoint; null if there is none */
  constructor(blobs: BlobStore, lease: Lease<JobRecord>, key: string | null) {
    this.#blobs = blobs;
    this.#lease = lease;
    this.#key = key;
  }

  /**
   * Restores the optimizer's state from the checkpoint.
   * @param sha256 of the blob, hexadecimal, if the record has it
   * @returns the progress; undefined if there is no checkpoint, or its blob is missing or damaged.
   * The search then starts again and ends with the same bits.
   */
  async load(optimizer: Optimizer, sha256?: string): Promise<SearchProgress | undefined> {
    const bytes =
      this.#key === null ? null : await this.#blobs.get(this.#key, { sha256 }).catch(ignoreDamage);
    if (!bytes) return undefined;
    const { state, progress } = decodeCheckpoint(bytes);
    optimizer.restore(state);
    const search = progress as SearchProgress;
    this.#savedIteration = search.iteration;
    return search;
  }

  /**
   * Stores a checkpoint, unless this iteration is stored already or the last checkpoint is younger
   * than `minIntervalMs`. What the search used is counted with it.
   * @param options.engineMilliseconds that the engine has spent on the job
   * @throws Interruption if the job is no longer this worker's; the blob is deleted then
   */
  async save(
    optimizer: Optimizer,
    progress: SearchProgress,
    {
      minIntervalMs,
      engineMilliseconds,
    }: { readonly minIntervalMs: number; readonly engineMilliseconds: number },
  ): Promise<void> {
    const now = performance.now();
    if (progress.iteration === this.#savedIteration || now - this.#savedAt < minIntervalMs) return;
    const key = `checkpoints/${this.#lease.id}-${progress.iteration}-${this.#lease.token}.safetensors`;
    const bytes = encodeCheckpoint(optimizer.state(), progress);
    await this.#blobs.put(key, bytes);
    const checkpoint = { key, iteration: progress.iteration, sha256: sha256Of(bytes) };
    const usage = { images: progress.rewards.length, engineMilliseconds };
    await this.#lease
      .commit({ set: { checkpoint, usage, storageAway: null } }, ['running', 'canceling'])
      .catch(async (error: unknown) => {
        // After other errors, the change may have arrived and the blob may be the checkpoint.
        if (error instanceof Interruption) await this.#blobs.delete(key).catch(() => {});
        throw error;
      });
    const previous = this.#key;
    this.#key = key;
    this.#savedAt = now;
    this.#savedIteration = progress.iteration;
    // A blob that can't be deleted now is deleted by `discard`.
    if (previous !== null) await this.#blobs.delete(previous).catch(() => {});
  }

  /** Deletes all blobs of the job, also those of dead workers. Call it after the job has ended. */
  async discard(): Promise<void> {
    for await (const key of this.#blobs.list(`checkpoints/${this.#lease.id}-`)) await this.#blobs.delete(key);
  }
}

function ignoreDamage(error: unknown): null {
  if (error instanceof DamagedBlobError) return null;
  throw error;
}
