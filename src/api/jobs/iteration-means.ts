import { setImmediate as nextTurn } from 'node:timers/promises';
import { gaussianSmoother } from '../../numerics/statistics.ts';
import type { StoredReward } from '../../records/record-change.ts';

/** Means that are smoothed before other requests have their turn: some milliseconds of work. */
const SMOOTHED_AT_ONCE = 500;

/** The mean reward of each iteration of a search, from its rewards page by page. */
export class IterationMeans {
  /** Number of rewards so far. */
  images = 0;
  readonly iterations: number[] = [];
  readonly #sums: number[] = [];
  readonly #counts: number[] = [];

  /** Adds the next rewards, in the order of the search. */
  add(rewards: readonly StoredReward[]): void {
    this.images += rewards.length;
    for (const { iteration, reward } of rewards) {
      if (iteration !== this.iterations.at(-1)) {
        this.iterations.push(iteration);
        this.#sums.push(0);
        this.#counts.push(0);
      }
      const last = this.iterations.length - 1;
      this.#sums[last] += reward;
      this.#counts[last]++;
    }
  }

  /** The means, in the order of `iterations`. */
  means(): number[] {
    return this.#sums.map((sum, i) => sum / this.#counts[i]);
  }

  /**
   * The means, smoothed with a Gaussian. Other requests have their turn in between.
   * @param sigma standard deviation of the Gaussian, in iterations
   */
  async smoothed(sigma: number): Promise<number[]> {
    const smooth = gaussianSmoother(this.means(), sigma);
    const values: number[] = [];
    while (values.length < this.iterations.length) {
      const end = Math.min(values.length + SMOOTHED_AT_ONCE, this.iterations.length);
      while (values.length < end) values.push(smooth(undefined, values.length));
      await nextTurn();
    }
    return values;
  }
}
