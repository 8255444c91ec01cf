import type { Queues } from '../src/queue/queues.ts';
import { Interruption } from './stop-reason.ts';

/** The pause between two questions whether other jobs wait. */
const QUESTION_INTERVAL_MS = 1000;
/** A slice takes at least so many times the time that the job took to open. */
const MIN_SLICE_PER_OPENING = 5;

/**
 * The time that a job may search before it makes room for jobs that wait. It begins with the first
 * iteration. Going back and opening again costs the job the time of its opening (models, text
 * encoder, checkpoint), so the slice grows with that: at most a sixth of a worker's time is spent
 * on it.
 */
export class Slice {
  readonly #queues: Pick<Queues, 'mustYield'>;
  readonly #job: { readonly id: string; readonly tenant: string };
  readonly #seconds: number;
  readonly #openedFrom = performance.now();
  #endsAt: number | null = null;

  /** @param seconds length of the slice; 0: without end. Create the slice when the job is taken. */
  constructor(
    queues: Pick<Queues, 'mustYield'>,
    job: { readonly id: string; readonly tenant: string },
    seconds: number,
  ) {
    this.#queues = queues;
    this.#job = job;
    this.#seconds = seconds;
  }

  /** Begins the slice: the job is open. */
  begin(): void {
    const now = performance.now();
    this.#endsAt = now + Math.max(this.#seconds * 1000, MIN_SLICE_PER_OPENING * (now - this.#openedFrom));
  }

  /**
   * Call it after each iteration.
   * @throws Interruption `preempted` if the slice is over and another job waits
   */
  async check(): Promise<void> {
    const now = performance.now();
    if (this.#seconds === 0 || this.#endsAt === null || now < this.#endsAt) return;
    this.#endsAt = now + QUESTION_INTERVAL_MS;
    // While Redis does not answer, the job goes on.
    if (await this.#queues.mustYield('optimize', this.#job).catch(() => false))
      throw new Interruption('preempted');
  }
}
