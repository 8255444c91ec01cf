import type { Noise } from '../core/noise.ts';
import type { Picture } from '../core/picture.ts';
import type { BatchSizes } from './batch-sizes.ts';
import type { DiffusionModel } from './diffusion-model.ts';
import { isOutOfMemory } from './errors.ts';
import type { GenerationSpec } from './generation-spec.ts';
import type { RewardModel } from './reward-model.ts';

/**
 * Runs graphs before jobs wait for them. On providers that choose or compile kernels for each
 * shape, batch sizes run once each at the requested picture size. On the CPU one picture is enough:
 * it reads the weights in. Graphs that were warmed up and stay open are not run again.
 */
export class WarmUp {
  readonly #batchSizes: BatchSizes;
  /** Keys of the runs that each opened model or reward has had. */
  readonly #done = new WeakMap<object, Set<string>>();

  constructor(batchSizes: BatchSizes) {
    this.#batchSizes = batchSizes;
  }

  /**
   * Warms up a model and rewards for `spec`.
   * @param count number of noises for whose runs to warm up; null: every batch size
   * @param onOutOfMemory called with a batch size that did not fit into memory; it frees memory and
   *   reduces the limit, or throws
   * @returns the batch sizes that were run
   */
  async run(
    model: DiffusionModel,
    rewards: readonly RewardModel[],
    spec: GenerationSpec,
    count: number | null,
    onOutOfMemory: (size: number, error: unknown) => Promise<void>,
  ): Promise<number[]> {
    const sizes = new Set<number>();
    for (let size = this.#nextSize(0, spec, count); size > 0; size = this.#nextSize(size, spec, count)) {
      const key = this.#batchSizes.isPadded
        ? `${spec.latentShape} ${spec.sampler.guidanceScale > 1} ${size}`
        : '';
      try {
        if (await this.#once(model, key, () => model.generate(spec, repeat(NOISE, size), async () => {})))
          sizes.add(size);
        const pictures = repeat(testPicture(spec), size);
        for (const [i, reward] of rewards.entries())
          if (await this.#once(reward, key, () => reward.score(pictures, spec.rewardTexts[i])))
            sizes.add(size);
      } catch (error) {
        if (!isOutOfMemory(error)) throw error;
        await onOutOfMemory(size, error);
        // The limit is lower now, or other models were closed. What was run is not run again.
        size = 0;
      }
    }
    return [...sizes];
  }

  /** The batch size after `size`; 0 after the last one. */
  #nextSize(size: number, spec: GenerationSpec, count: number | null): number {
    return this.#sizes(spec, count).find((next) => next > size) ?? 0;
  }

  #sizes(spec: GenerationSpec, count: number | null): readonly number[] {
    if (!this.#batchSizes.isPadded) return [1];
    return count === null ? this.#batchSizes.sizes(spec) : this.#batchSizes.sizesFor(count, spec);
  }

  async #once(opened: object, key: string, run: () => Promise<unknown>): Promise<boolean> {
    const done = this.#done.get(opened) ?? new Set();
    this.#done.set(opened, done);
    if (done.has(key)) return false;
    await run();
    done.add(key);
    return true;
  }
}

const NOISE: Noise = { key: { seed: 0, stream: 0, index: 0 } };

/** A picture that is not uniform. */
function testPicture({ sampler: { width, height } }: GenerationSpec): Picture {
  return { width, height, pixels: Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * 37) % 256) };
}

function repeat<T>(value: T, count: number): T[] {
  return new Array<T>(count).fill(value);
}
