import { ProblemError } from '../src/contract/problem.ts';
import type { DeviceLostError, OutOfMemoryError } from '../src/engine/errors.ts';
import { Interruption } from './stop-reason.ts';

/**
 * Exit status of a worker whose supervisor has to start a new process: EX_TEMPFAIL of sysexits.h.
 */
export const RECYCLE_STATUS = 75;

/** Processes that may end at the same place of the same work before that work fails. */
const MAX_PROCESSES = 3;

/** Processes that may lose their GPU while they work on the same batch of samples. */
const MAX_LOST_DEVICES = 10;

/**
 * Ends a process that a new one has to replace: its memory does not suffice for even one picture,
 * or its GPU is lost. GPU providers never give memory back, and it may be fragmented, so a new
 * process may succeed. If the work also fails in a new process that has done nothing else, it fails
 * for good.
 */
export class Recycling {
  #startedWork = 0;
  readonly #request = Promise.withResolvers<void>();
  /** Resolves when this process has to end and another one has to take its place. */
  readonly requested: Promise<void> = this.#request.promise;

  /** Counts a job or a batch of samples that this process has started. */
  countWork(): void {
    this.#startedWork++;
  }

  /**
   * Requests the end of a process whose GPU is lost.
   * @param attempts how often workers have begun with this work, if nothing else limits that
   * @returns the interruption with which the work is given back, or the problem with which it fails
   */
  replaceDevice(error: DeviceLostError, attempts = 0): Interruption | ProblemError {
    this.#request.resolve();
    return attempts < MAX_LOST_DEVICES
      ? new Interruption('device')
      : new ProblemError('worker-lost', `${error.message} ${attempts} workers lost their GPU at this work.`);
  }

  /**
   * Requests the end of the process, for want of memory.
   * @param times how often this work ran out of memory at this place before
   * @returns the interruption with which the work is given back, or the problem with which it fails
   */
  recycle(error: OutOfMemoryError, times: number): Interruption | ProblemError {
    this.#request.resolve();
    const isNewProcess = this.#startedWork <= 1;
    const mayTryAgain = times === 0 || (!isNewProcess && times + 1 < MAX_PROCESSES);
    return mayTryAgain ? new Interruption('memory') : new ProblemError('out-of-memory', error.message);
  }
}
