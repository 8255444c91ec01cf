import type { JobRecord } from '../src/contract/records.ts';
import type { Optimizer } from '../src/numerics/optimizers/optimizer.ts';
import type { SearchProgress } from '../src/search/run-search.ts';
import { sha256Of } from '../src/sha256.ts';
import { type BlobStore, DamagedBlobError } from '../src/storage/blobs.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../src/storage/checkpoint-file.ts';
import { Interruption } from './interruption.ts';
import type { Lease } from './lease.ts';

/**
 * A job's checkpoints: the optimizer's state and the rewards so far, in one blob. The blob is written first and becomes the
 * checkpoint by a fenced change of the record. Its key carries the token of this taking: a worker that lost the job can neither
 * write over its successor's blob nor delete it, and takes back what it wrote in vain.
 */
export class Checkpoints {
  readonly #blobs: BlobStore;
  readonly #claim: Lease<JobRecord>;
  #key: string | null;
  #savedAt = performance.now();
  #savedIteration = -1;

  constructor(blobs: BlobStore, claim: Lease<JobRecord>, key: string | null) {
    this.#blobs = blobs;
    this.#claim = claim;
    this.#key = key;
  }

  /**
   * Puts the optimizer where the checkpoint is. Undefined: there is none, or its blob is gone or damaged; the run starts over,
   * to the same bits.
   * @param sha256 of the checkpoint, where it is known
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

  /** Saves unless this iteration is saved already or the last save is younger than `atLeastEvery` milliseconds. */
  async save(
    optimizer: Optimizer,
    progress: SearchProgress,
    { atLeastEvery }: { readonly atLeastEvery: number },
  ): Promise<void> {
    const now = performance.now();
    if (progress.iteration === this.#savedIteration || now - this.#savedAt < atLeastEvery) return;
    const key = `checkpoints/${this.#claim.id}-${progress.iteration}-${this.#claim.owner}.safetensors`;
    const bytes = encodeCheckpoint(optimizer.state(), progress);
    await this.#blobs.put(key, bytes);
    const checkpoint = { key, iteration: progress.iteration, sha256: sha256Of(bytes) };
    await this.#claim
      .commit({ set: { checkpoint, storageAway: null } }, ['running', 'canceling'])
      .catch(async (error: unknown) => {
        // Only where Redis has said so is it nobody's; after any other error it may be the checkpoint.
        if (error instanceof Interruption) await this.#blobs.delete(key).catch(() => {});
        throw error;
      });
    const previous = this.#key;
    this.#key = key;
    this.#savedAt = now;
    this.#savedIteration = progress.iteration;
    if (previous !== null) await this.#blobs.delete(previous).catch(() => {}); // what stays goes with the last one
  }

  /** To be called once the job has ended: also what dead workers left goes. */
  async discard(): Promise<void> {
    for await (const key of this.#blobs.list(`checkpoints/${this.#claim.id}-`)) await this.#blobs.delete(key);
  }
}

function ignoreDamage(error: unknown): null {
  if (error instanceof DamagedBlobError) return null;
  throw error;
}
