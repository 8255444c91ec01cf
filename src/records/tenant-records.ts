import type { IdKind } from '../contract/ids.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import type { AnyRecord, Change, Outcome } from './record-change.ts';
import { Records } from './records.ts';

type Parameters<T extends AnyRecord, Name extends 'create' | 'list'> = Records<T>[Name] extends (
  ...parameters: infer P
) => unknown
  ? P
  : never;

/**
 * The records of one tenant: for whoever holds these, nobody else's exist, in no state. Every method of `Records` has its guard here
 * (a test compares the two), so no route has a check of its own that it could forget.
 */
export class TenantRecords<T extends AnyRecord> extends Records<T> {
  readonly #tenant: string;

  constructor(redis: Redis, keys: RedisKeys, kind: IdKind, noun: string, tenant: string) {
    super(redis, keys, kind, noun);
    this.#tenant = tenant;
  }

  async #isMine(id: string): Promise<boolean> {
    return (await this.tenantOf(id)) !== null;
  }

  override async tenantOf(id: string): Promise<string | null> {
    return (await super.tenantOf(id)) === this.#tenant ? this.#tenant : null;
  }

  override async create(...[record, options]: Parameters<T, 'create'>): Promise<boolean> {
    if (record.tenant !== this.#tenant)
      throw new Error(`A record of ${record.tenant} can't be written for ${this.#tenant}.`);
    return super.create(record, options);
  }

  override async find(id: string): Promise<T | null> {
    const record = await super.find(id);
    return record?.tenant === this.#tenant ? record : null;
  }

  /** Stands on `find` and `findGone`: what is another's is not found, and was never there. */
  override async get(id: string): Promise<T> {
    return super.get(id);
  }

  override async findGone(id: string): ReturnType<Records<T>['findGone']> {
    const gone = await super.findGone(id);
    return gone?.tenant === this.#tenant ? gone : null;
  }

  override async change(id: string, change: Change<T>): Promise<Outcome> {
    return (await this.#isMine(id)) ? super.change(id, change) : 'missing';
  }

  override async list(...[options]: Parameters<T, 'list'>): ReturnType<Records<T>['list']> {
    const accept = (record: T) => record.tenant === this.#tenant && (options.accept?.(record) ?? true);
    return super.list({ ...options, accept, tenant: this.#tenant });
  }

  override async count(): Promise<number> {
    return super.count(this.#tenant);
  }

  override async *fromOldest(): AsyncGenerator<T> {
    yield* super.fromOldest(this.#tenant);
  }

  override async *idsWith(statuses: readonly string[]): AsyncGenerator<string[]> {
    yield* super.idsWith(statuses, this.#tenant);
  }

  override async hidden<V>(id: string, name: string): Promise<V | null> {
    return (await this.#isMine(id)) ? super.hidden<V>(id, name) : null;
  }

  override async children(id: string): Promise<string[]> {
    return (await this.#isMine(id)) ? super.children(id) : [];
  }

  override async adopt(parent: string, children: readonly string[]): Promise<void> {
    if (await this.#isMine(parent)) return super.adopt(parent, children);
  }

  override async discard(id: string): Promise<void> {
    if (await this.#isMine(id)) return super.discard(id);
  }

  override async remove(id: string, at: string): Promise<void> {
    if (await this.#isMine(id)) return super.remove(id, at);
  }

  override async rewards(id: string): ReturnType<Records<T>['rewards']> {
    return (await this.#isMine(id)) ? super.rewards(id) : [];
  }
}
