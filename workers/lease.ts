import { randomUUID } from 'node:crypto';
import { ProblemError } from '../src/contract/problem.ts';
import type { AnyRecord, Change, Outcome } from '../src/records/record-change.ts';
import type { Records } from '../src/records/records.ts';
import { Interruption } from './interruption.ts';

/** A record that a worker holds: every change is fenced by the token of this taking. */
export class Lease<T extends AnyRecord> {
  readonly #records: Records<T>;
  readonly id: string;
  readonly owner = randomUUID();

  constructor(records: Records<T>, id: string) {
    this.#records = records;
    this.id = id;
  }

  /** Takes the record over. False when its status is none of `statuses`. */
  async take(statuses: readonly string[], change: Change<T>): Promise<boolean> {
    return (await this.#records.change(this.id, { ...change, statuses, newOwner: this.owner })) === 'done';
  }

  /**
   * Changes the record.
   * @throws Interruption `lost` when another worker took it since, `canceled` when its status is none of `statuses`
   * @throws ProblemError `gone` when it was deleted
   */
  async commit(change: Change<T>, statuses?: readonly string[]): Promise<void> {
    const outcome = await this.attempt(change, statuses);
    if (outcome === 'missing')
      throw new ProblemError('gone', `${this.id} was deleted while it was worked on.`);
    if (outcome === 'not-owner') throw new Interruption('lost');
    if (outcome === 'wrong-status') throw new Interruption('canceled');
  }

  /** Changes the record, and tells what came of it. */
  attempt(change: Change<T>, statuses?: readonly string[]): Promise<Outcome> {
    return this.#records.change(this.id, { ...change, statuses, owner: this.owner });
  }
}
