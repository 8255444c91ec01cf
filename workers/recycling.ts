import { ProblemError } from '../src/contract/problem.ts';
import { OutOfMemoryError } from '../src/engine/graphs/engine-error.ts';
import { Interruption } from './interruption.ts';

/** Exit status of a worker that ends so that a fresh process starts: EX_TEMPFAIL of sysexits.h. */
export const RECYCLE_STATUS = 75;

/** Processes that may end for one piece of work at one place, whatever else they did before. */
const MOST_PROCESSES = 3;

/**
 * When memory does not suffice even for one draw, this process ends and a fresh one goes on with the work: GPU providers never give
 * memory back, and it may be in pieces. Work for which that was done before and a fresh process has too little memory too is hopeless.
 */
export class Recycling {
  #taken = 0;
  readonly #asked = Promise.withResolvers<void>();
  /** Resolves when this process is to end and another one to take its place. */
  readonly asked: Promise<void> = this.#asked.promise;

  /** To be called for each piece of work that is begun. */
  begin(): void {
    this.#taken++;
  }

  /**
   * Ends the process after an OutOfMemoryError. Others pass.
   * @param times how often that happened before to this work at this place
   * @returns what to end the work with: an interruption, so that it is given back, or the problem that it has
   */
  judge(
    error: unknown,
    times: number,
  ): { readonly interruption: Interruption } | { readonly problem: unknown } {
    if (!(error instanceof OutOfMemoryError)) return { problem: error };
    this.#asked.resolve();
    const isFresh = this.#taken <= 1;
    if (times === 0 || (!isFresh && times + 1 < MOST_PROCESSES))
      return { interruption: new Interruption('memory') };
    return { problem: new ProblemError('out-of-memory', error.message) };
  }
}
