import { tunesShapes } from './graphs/providers.ts';
import type { BatchLimit, EngineOptions, GenerationSpec } from './messages.ts';

/**
 * Most positions of latents, height * width over all rows of a run, that the CPU gets at a time: two pictures of 512x512 (one with classifier-free
 * guidance). A larger run takes memory in proportion and no less time.
 */
const CPU_POSITIONS = 2 * 64 * 64;

type Work = Pick<GenerationSpec, 'model' | 'latentShape' | 'guidanceScale' | 'width' | 'height'>;

/** How many draws go into one graph run: as configured, fewer where pictures are large on the CPU, and fewer yet where memory ran out. */
export class BatchSizes {
  readonly #options: EngineOptions;
  readonly #limits = new Map<string, BatchLimit>();

  /** @param options whose first execution provider is the one in use */
  constructor(options: EngineOptions) {
    this.#options = options;
  }

  /** Most draws for one graph run. */
  limit(work: Work): number {
    return Math.min(
      drawsPerRun(this.#options, work),
      this.#limits.get(keyOf(work))?.batchSize ?? Number.POSITIVE_INFINITY,
    );
  }

  /** The sizes that graph runs have: every one up to the limit, or a few fixed ones where kernels are chosen for each shape. Ascending. */
  sizes(work: Work): readonly number[] {
    return this.pads
      ? fixedSizes(this.limit(work))
      : Array.from({ length: this.limit(work) }, (_, i) => i + 1);
  }

  /** Whether runs are filled up to one of few sizes. */
  get pads(): boolean {
    return this.#options.padBatches ?? tunesShapes(this.#options.executionProviders[0]);
  }

  /** The size of the run for `count` draws: the smallest that holds them. */
  sizeFor(count: number, work: Work): number {
    return this.sizes(work).find((size) => size >= count) ?? count;
  }

  /**
   * Remembers that a run of `size` draws (2 or more) was too large for the memory.
   * @returns the new limit: half of `size`, or the next smaller one of the few sizes
   */
  halve(size: number, work: Work): number {
    const batchSize = this.pads ? (fixedSizes(size).at(-2) ?? 1) : Math.floor(size / 2);
    const { width, height, model } = work;
    this.#limits.set(keyOf(work), { model: model.name, width, height, batchSize });
    return batchSize;
  }

  /** Where runs are smaller than configured since memory ran out. */
  reduced(): BatchLimit[] {
    return [...this.#limits.values()];
  }
}

/** Draws for one graph run: `batchSize`, or on the CPU fewer where pictures are large. */
export function drawsPerRun(
  { batchSize, executionProviders }: Pick<EngineOptions, 'batchSize' | 'executionProviders'>,
  { latentShape, guidanceScale }: Pick<GenerationSpec, 'latentShape' | 'guidanceScale'>,
): number {
  if (executionProviders[0] !== 'cpu') return batchSize;
  const positions = latentShape.slice(1).reduce((product, size) => product * size, 1);
  const rows = guidanceScale > 1 ? 2 : 1;
  return Math.max(1, Math.min(batchSize, Math.floor(CPU_POSITIONS / (positions * rows))));
}

/** 1, 2, 4 ... and the limit itself: a last batch is filled up to less than its double, and few shapes are there to be tuned for. */
export function fixedSizes(limit: number): readonly number[] {
  const powers = Array.from({ length: Math.floor(Math.log2(limit)) + 1 }, (_, i) => 2 ** i);
  return powers.at(-1) === limit ? powers : [...powers, limit];
}

/** Memory goes with the model, the size of the pictures, and whether there are two rows for each. */
function keyOf({ model, latentShape, guidanceScale }: Work): string {
  return `${model.path} ${latentShape} ${guidanceScale > 1}`;
}
