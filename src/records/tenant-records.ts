import type { IdKind } from '../contract/ids.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import type { Change, Creation, Outcome, StoredReward } from './record-change.ts';
import type { AnyRecord } from './record-codec.ts';
import { type ListOptions, type RecordPage, Records } from './records.ts';

/**
 * The records of one tenant. Records of other tenants answer as if they did not exist: 404, never
 * 410. This class overrides every method of `Records` (a test compares the two), so routes need no
 * checks of their own.
 */
export class TenantRecords<T extends AnyRecord> extends Records<T> {
  readonly #tenant: string;

  constructor(redis: Redis, keys: RedisKeys, kind: IdKind, noun: string, tenant: string) {
    super(redis, keys, kind, noun);
    this.#tenant = tenant;
  }

  override async tenantOf(id: string): Promise<string | null> {
    return (await super.tenantOf(id)) === this.#tenant ? this.#tenant : null;
  }

  /** @throws Error when the record is another tenant's */
  override async create(record: T, options?: Creation): Promise<boolean> {
    if (record.tenant !== this.#tenant)
      throw new Error(`A record of ${record.tenant} cannot be written for ${this.#tenant}.`);
    return super.create(record, options);
  }

  override async find(id: string): Promise<T | null> {
    const record = await super.find(id);
    return record?.tenant === this.#tenant ? record : null;
  }

  /** Calls `find` and `findGone` of this class, which hide other tenants' records. */
  override async get(id: string): Promise<T> {
    return super.get(id);
  }

  /** Calls `find`, `findGone` and `get` of this class. */
  override async findUnlessGone(id: string): Promise<T | null> {
    return super.findUnlessGone(id);
  }

  override async findGone(id: string): ReturnType<Records<T>['findGone']> {
    const gone = await super.findGone(id);
    return gone?.tenant === this.#tenant ? gone : null;
  }

  override async change(id: string, change: Change<T>): Promise<Outcome> {
    return (await this.#owns(id)) ? super.change(id, change) : 'missing';
  }

  override async list(options: ListOptions<T>): Promise<RecordPage<T>> {
    const filter = (record: T) => record.tenant === this.#tenant && (options.filter?.(record) ?? true);
    return super.list({ ...options, filter, tenant: this.#tenant });
  }

  override async count(): Promise<number> {
    return super.count(this.#tenant);
  }

  override async *oldestFirst(): AsyncGenerator<T> {
    yield* super.oldestFirst(this.#tenant);
  }

  override async *idsByStatus(statuses: readonly string[]): AsyncGenerator<string[]> {
    yield* super.idsByStatus(statuses, this.#tenant);
  }

  override async internalField<V>(id: string, name: string): Promise<V | null> {
    return (await this.#owns(id)) ? super.internalField<V>(id, name) : null;
  }

  override async children(id: string): Promise<string[]> {
    return (await this.#owns(id)) ? super.children(id) : [];
  }

  override async addChildren(parent: string, children: readonly string[]): Promise<void> {
    if (await this.#owns(parent)) return super.addChildren(parent, children);
  }

  override async discard(id: string): Promise<void> {
    if (await this.#owns(id)) return super.discard(id);
  }

  override async remove(id: string, at: string): Promise<void> {
    if (await this.#owns(id)) return super.remove(id, at);
  }

  override async *rewardPages(id: string, limit?: number): AsyncGenerator<StoredReward[]> {
    if (await this.#owns(id)) yield* super.rewardPages(id, limit);
  }

  async #owns(id: string): Promise<boolean> {
    return (await this.tenantOf(id)) !== null;
  }
}
