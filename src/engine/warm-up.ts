import type { Picture } from '../core/picture.ts';
import type { BatchSizes } from './batch-size.ts';
import type { DiffusionModel } from './diffusion-model.ts';
import { isOutOfMemory } from './graphs/engine-error.ts';
import type { GenerationSpec } from './messages.ts';
import type { RewardModel } from './reward-model.ts';

/**
 * Runs graphs before jobs wait for them. Providers that choose or compile kernels for each shape run every batch size once, at the pictures' own size;
 * on the CPU one key is enough, which reads the weights in. What was run once is not run again as long as it stays open.
 */
export class WarmUp {
  readonly #batches: BatchSizes;
  readonly #done = new WeakMap<object, Set<string>>();

  constructor(batches: BatchSizes) {
    this.#batches = batches;
  }

  /**
   * @param onOutOfMemory told of a size that was too large for the memory; it makes room, or throws
   * @returns the batch sizes that were run
   */
  async run(
    model: DiffusionModel,
    rewards: readonly RewardModel[],
    spec: GenerationSpec,
    onOutOfMemory: (size: number, error: unknown) => Promise<void>,
  ): Promise<number[]> {
    const sizes = new Set<number>();
    for (let size = 1; size > 0; size = this.#after(size, spec)) {
      const key = this.#batches.pads ? `${spec.latentShape} ${spec.guidanceScale > 1} ${size}` : '';
      try {
        if (await this.#once(model, key, () => model.generate(spec, copies(DRAW, size), async () => {})))
          sizes.add(size);
        const pictures = copies(testCard(spec), size);
        for (const [i, reward] of rewards.entries())
          if (await this.#once(reward, key, () => reward.score(pictures, spec.rewardTexts[i])))
            sizes.add(size);
      } catch (error) {
        if (!isOutOfMemory(error)) throw error;
        await onOutOfMemory(size, error);
        // Room was made: once more. Of larger ones there is nothing left to try, for the limit is smaller now.
        if (size === 1) size = 0;
      }
    }
    return [...sizes];
  }

  /** The next size; 0 after the last. */
  #after(size: number, spec: GenerationSpec): number {
    const sizes = this.#batches.pads ? this.#batches.sizes(spec) : [1];
    return sizes.find((next) => next > size) ?? 0;
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

const DRAW = { key: { seed: 0, stream: 0, index: 0 } };

/** A picture with something on it. */
function testCard({ width, height }: GenerationSpec): Picture {
  return { width, height, pixels: Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * 37) % 256) };
}

function copies<T>(one: T, count: number): T[] {
  return new Array<T>(count).fill(one);
}
