import type { GenerationSpec } from './generation-spec.ts';
import { tunesShapes } from './graphs/provider-traits.ts';
import type { BatchLimit, EngineOptions } from './messages.ts';

/**
 * Maximum latent positions (height * width, over all rows) of one graph run on the CPU: two
 * pictures of 512x512 without classifier-free guidance, one with it. Larger runs need more memory
 * and save no time.
 */
const MAX_CPU_POSITIONS = 2 * 64 * 64;

type Work = Pick<GenerationSpec, 'model' | 'latentShape' | 'sampler'>;

/**
 * Chooses how many noises go into one graph run: the configured batch size, less for large pictures
 * on the CPU, and less again after memory ran out.
 */
export class BatchSizes {
  readonly #options: EngineOptions;
  readonly #limits = new Map<string, BatchLimit>();

  /** @param options their first execution provider is the one in use */
  constructor(options: EngineOptions) {
    this.#options = options;
  }

  /** Maximum number of noises in one graph run. */
  limit(work: Work): number {
    return Math.min(
      maxBatchSize(this.#options, work),
      this.#limits.get(keyOf(work))?.batchSize ?? Number.POSITIVE_INFINITY,
    );
  }

  /** The sizes that graph runs can have, ascending: all up to the limit, or a few if padded. */
  sizes(work: Work): readonly number[] {
    return this.isPadded
      ? paddedSizes(this.limit(work))
      : Array.from({ length: this.limit(work) }, (_, i) => i + 1);
  }

  /** Whether graph runs are padded to one of a few sizes. */
  get isPadded(): boolean {
    return this.#options.padBatches ?? tunesShapes(this.#options.executionProviders[0]);
  }

  /**
   * How many noises of a request, counted from its first one, share runs of the denoiser with other
   * requests. Shared runs always have the size of the limit. A rest of less than half of that is
   * faster in a small run of its own, so it does not share. The number depends on the request
   * alone, and so do the results.
   * @param count noises of the request
   */
  sharedCount(count: number, work: Work): number {
    const limit = this.limit(work);
    const { sharedBatches = tunesShapes(this.#options.executionProviders[0]) } = this.#options;
    if (!sharedBatches || limit === 1) return 0;
    const rest = count % limit;
    return rest * 2 >= limit ? count : count - rest;
  }

  /**
   * The sizes of the graph runs for `count` noises, ascending: full ones, and one for the rest.
   */
  sizesFor(count: number, work: Work): readonly number[] {
    const limit = this.limit(work);
    const rest = count % limit;
    const hasFullRun = count >= limit || this.sharedCount(count, work) > 0;
    const sizes = [...(rest > 0 ? [this.sizeFor(rest, work)] : []), ...(hasFullRun ? [limit] : [])];
    return [...new Set(sizes)];
  }

  /** The smallest size of a graph run for `count` noises. */
  sizeFor(count: number, work: Work): number {
    return this.sizes(work).find((size) => size >= count) ?? count;
  }

  /**
   * Reduces the limit after a graph run of `size` noises, 2 or more, did not fit into memory.
   * @returns the new limit: half of `size`, or the next smaller padded size
   */
  halve(size: number, work: Work): number {
    const batchSize = this.isPadded ? (paddedSizes(size).at(-2) ?? 1) : Math.floor(size / 2);
    const { model, sampler } = work;
    const { width, height } = sampler;
    this.#limits.set(keyOf(work), { model: model.name, width, height, batchSize });
    return batchSize;
  }

  /** The limits that were reduced because memory ran out. */
  reduced(): BatchLimit[] {
    return [...this.#limits.values()];
  }
}

/**
 * Maximum number of noises in one graph run while memory suffices; less for large pictures on the
 * CPU.
 */
export function maxBatchSize(
  { batchSize, executionProviders }: Pick<EngineOptions, 'batchSize' | 'executionProviders'>,
  { latentShape, sampler }: Pick<Work, 'latentShape' | 'sampler'>,
): number {
  if (executionProviders[0] !== 'cpu') return batchSize;
  const positions = latentShape.slice(1).reduce((product, size) => product * size, 1);
  const rows = sampler.guidanceScale > 1 ? 2 : 1;
  return Math.max(1, Math.min(batchSize, Math.floor(MAX_CPU_POSITIONS / (positions * rows))));
}

/**
 * The sizes of padded graph runs: 1, 2, 4 ... and the limit itself. Padding less than doubles a
 * run, and few shapes have to be tuned.
 */
export function paddedSizes(limit: number): readonly number[] {
  const powers = Array.from({ length: Math.floor(Math.log2(limit)) + 1 }, (_, i) => 2 ** i);
  return powers.at(-1) === limit ? powers : [...powers, limit];
}

/** Memory depends on the model, the size of the latents, and the rows for each of them. */
function keyOf({ model, latentShape, sampler }: Work): string {
  return `${model.path} ${latentShape} ${sampler.guidanceScale > 1}`;
}
