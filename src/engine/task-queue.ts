import { setImmediate as nextTurn } from 'node:timers/promises';

/** Work of the engine's thread that is done in parts. */
export interface Task {
  /** Of the request that an error of `advance` fails. */
  readonly id: number;
  /** Works on one batch; resolves with true once nothing is left to do. */
  advance(): Promise<boolean>;
}

/** Works on tasks in turn, one batch each, so that none waits for the end of another. */
export class TaskQueue {
  readonly #tasks: Task[] = [];
  readonly #onError: (id: number, error: unknown) => void;
  #isWorking = false;

  /** @param onError called when a task fails, which ends it */
  constructor(onError: (id: number, error: unknown) => void) {
    this.#onError = onError;
  }

  add(task: Task): void {
    this.#tasks.push(task);
    if (!this.#isWorking) void this.#work();
  }

  /** Drops all tasks but the one that is worked on. */
  clear(): void {
    this.#tasks.length = 0;
  }

  async #work(): Promise<void> {
    this.#isWorking = true;
    for (let task = this.#tasks.shift(); task; task = this.#tasks.shift()) {
      try {
        if (!(await task.advance())) this.#tasks.push(task);
      } catch (error) {
        this.#onError(task.id, error);
      }
      await nextTurn();
    }
    this.#isWorking = false;
  }
}
