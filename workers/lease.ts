import { randomUUID } from 'node:crypto';
import { ProblemError } from '../src/contract/problem.ts';
import type { Change, Outcome } from '../src/records/record-change.ts';
import type { AnyRecord } from '../src/records/record-codec.ts';
import type { Records } from '../src/records/records.ts';
import { Interruption } from './stop-reason.ts';

/**
 * A worker's lease of a record. Taking the record writes a new owner token into it; a later change
 * with an older token is refused (fencing), so a worker that lost the record can't write over its
 * successor.
 */
export class Lease<T extends AnyRecord> {
  readonly #records: Records<T>;
  readonly id: string;
  /** The owner token of this lease. */
  readonly token = randomUUID();

  constructor(records: Records<T>, id: string) {
    this.#records = records;
    this.id = id;
  }

  /**
   * Takes the record, also from another worker.
   * @returns false if its status is none of `statuses`
   */
  async take(statuses: readonly string[], change: Change<T>): Promise<boolean> {
    const outcome = await this.#records.change(this.id, { ...change, statuses, newLeaseToken: this.token });
    return outcome === 'done';
  }

  /**
   * Changes the record.
   * @throws Interruption `lost` if another worker has taken it, `canceled` if its status is none of
   * `statuses`
   * @throws ProblemError `gone` if it was deleted
   */
  async commit(change: Change<T>, statuses?: readonly string[]): Promise<void> {
    const outcome = await this.attempt(change, statuses);
    if (outcome === 'missing')
      throw new ProblemError('gone', `${this.id} was deleted while a worker had it.`);
    if (outcome === 'not-owner') throw new Interruption('lost');
    if (outcome === 'wrong-status') throw new Interruption('canceled');
  }

  /** Changes the record if this worker still has it, and returns the outcome. */
  attempt(change: Change<T>, statuses?: readonly string[]): Promise<Outcome> {
    return this.#records.change(this.id, { ...change, statuses, leaseToken: this.token });
  }
}
