import { Evaluation, type EvaluationServices } from './evaluation.ts';
import type { Request } from './messages.ts';
import { SharedBatch, sharingKey } from './shared-batch.ts';
import type { TaskQueue } from './task-queue.ts';

/** Starts evaluations: those that can share runs of the denoiser as one task, others alone. */
export class EvaluationQueue {
  readonly #services: EvaluationServices;
  readonly #tasks: TaskQueue;
  /** By `sharingKey`. */
  readonly #shared = new Map<string, SharedBatch>();

  constructor(services: EvaluationServices, tasks: TaskQueue) {
    this.#services = services;
    this.#tasks = tasks;
  }

  /** Noises that share runs come first, the rest of the request by itself. */
  add(request: Request & { type: 'evaluate' }): void {
    const { id, spec, noises } = request;
    const evaluation = new Evaluation(request, this.#services);
    const addRest = () => this.#tasks.add({ id, advance: () => evaluation.advance() });
    const count = this.#services.batchSizes.sharedCount(noises.length, spec);
    if (count > 0) this.#share(evaluation, count, addRest);
    else addRest();
  }

  #share(evaluation: Evaluation, count: number, addRest: () => void): void {
    const key = sharingKey(evaluation.spec);
    const present = this.#shared.get(key);
    const shared = present ?? new SharedBatch(this.#services);
    shared.add(evaluation, count, addRest);
    if (present) return;
    this.#shared.set(key, shared);
    const advance = async () => {
      const isDone = await shared.advance();
      if (isDone) this.#shared.delete(key);
      return isDone;
    };
    this.#tasks.add({ id: evaluation.id, advance });
  }
}
