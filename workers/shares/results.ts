import type { Evaluation } from '../../src/core/evaluator.ts';

/** Results of the shares of one evaluation; the first result of a share counts. */
export class Results {
  readonly #found: (readonly Evaluation[] | undefined)[];
  readonly #workers = new Set<string>();

  /** @param count of shares */
  constructor(count: number) {
    this.#found = Array.from({ length: count });
  }

  has(index: number): boolean {
    return this.#found[index] !== undefined;
  }

  /** Adds what a worker found, unless the share has a result already. */
  add(index: number, evaluations: readonly Evaluation[], worker: string): void {
    if (this.has(index)) return;
    this.#found[index] = evaluations;
    this.#workers.add(worker);
  }

  /** Indices of the shares without a result. */
  get missing(): number[] {
    return [...this.#found.keys()].filter((index) => !this.has(index));
  }

  /** Number of workers whose results count. */
  get workers(): number {
    return this.#workers.size;
  }

  /** All evaluations, in the order of the noises. Call it when no share is missing. */
  inOrder(): Evaluation[] {
    return this.#found.flatMap((evaluations) => evaluations ?? []);
  }
}
