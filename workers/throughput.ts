import type { Evaluator } from '../src/core/evaluator.ts';

/** Milliseconds of work over which the throughput is averaged. */
const WINDOW_MS = 60_000;

/** Images per second over the last minute of work. Idle time does not count. */
export class Throughput {
  readonly #entries: { images: number; milliseconds: number }[] = [];

  /** Adds work that has just been done. */
  add(images: number, milliseconds: number): void {
    this.#entries.push({ images, milliseconds });
    let total = this.#entries.reduce((sum, entry) => sum + entry.milliseconds, 0);
    while (this.#entries.length > 1 && total > WINDOW_MS) total -= this.#entries.shift()?.milliseconds ?? 0;
  }

  /** Images per second; null before the first work. */
  imagesPerSecond(): number | null {
    const milliseconds = this.#entries.reduce((sum, entry) => sum + entry.milliseconds, 0);
    const images = this.#entries.reduce((sum, entry) => sum + entry.images, 0);
    return milliseconds > 0 ? (images / milliseconds) * 1000 : null;
  }
}

/** Decorates an evaluator: calls `add` after each finished evaluation. */
export function withThroughput(evaluator: Evaluator, add: Throughput['add']): Evaluator {
  return {
    shape: evaluator.shape,
    promptEmbedding: evaluator.promptEmbedding,
    async evaluate(noises, options) {
      const began = performance.now();
      const evaluations = await evaluator.evaluate(noises, options);
      add(noises.length, performance.now() - began);
      return evaluations;
    },
  };
}
