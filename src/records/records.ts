import type { IdKind } from '../contract/ids.ts';
import { ProblemError } from '../contract/problem.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { defineScript } from '../redis/lua-script.ts';
import {
  type Change,
  type Creation,
  commitChange,
  createRecord,
  decodeReward,
  type Outcome,
  type StoredReward,
} from './record-change.ts';
import {
  type AnyRecord,
  decodeField,
  decodeRecord,
  internalFieldName,
  type Upgrade,
} from './record-codec.ts';

/** Records that one round trip reads for a list. */
const LIST_BATCH = 100;
/** Ids that one round trip reads when all records of a kind are gone through. */
const SCAN_BATCH = 500;
/** Rewards that are read from Redis at a time: the answers to many clients may come together. */
export const REWARDS_IN_PAGE = 250;

/**
 * Records that one request for a page may skip. Without a limit, a filter that few of 100,000
 * records pass would keep this process and Redis from other requests.
 */
export const MAX_SKIPPED = 5000;

/** What a list contains. */
export interface ListOptions<T> {
  /** Most records in the page. */
  readonly limit: number;
  /** Id after which the page begins; left out: the newest record. */
  readonly after?: string;
  /** Which records the page contains; left out: all. */
  readonly filter?: (record: T) => boolean;
  /** Left out: all tenants. */
  readonly tenant?: string;
  /**
   * Records that the filter may skip; the page is shorter, or empty, when it stops there. Left out:
   * any number.
   */
  readonly maxSkipped?: number;
}

/** A page of a list. */
export interface RecordPage<T> {
  readonly data: T[];
  /** Whether there are, or may be, further records. */
  readonly hasMore: boolean;
  /** `after` of the next page; null when `hasMore` is false. */
  readonly nextAfter: string | null;
}

/**
 * Time to live of the note of a deletion in Redis: 90 days. A sweep deletes the note in storage
 * (`jobs/archive.ts`) after that time.
 */
export const GONE_SECONDS = 90 * 86_400;

const removeRecord = defineScript<null>(import.meta.url, './lua/remove.lua');
const upgradeRecord = defineScript<null>(import.meta.url, './lua/upgrade.lua');

/**
 * Records of one kind, of all tenants: durable, listed by time, changed atomically. Code that
 * serves one tenant uses `TenantRecords`, which has to override every method of this class.
 */
export class Records<T extends AnyRecord> {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #kind: IdKind;
  readonly #noun: string;

  /** @param noun for a record of this kind in problems */
  constructor(redis: Redis, keys: RedisKeys, kind: IdKind, noun: string) {
    this.#redis = redis;
    this.#keys = keys;
    this.#kind = kind;
    this.#noun = noun;
  }

  /**
   * Writes a record and its first events. It overwrites a record with this id, as a worker does
   * that repeats its work, unless `onlyNew` is set. New jobs and samples are written by `enqueue`.
   * @returns false when there was a record, which stays as it was
   * @throws ProblemError `conflict` when another tenant has a record with this id
   */
  async create(record: T, options: Creation = {}): Promise<boolean> {
    const outcome = await createRecord(this.#redis, this.#keys, this.#kind, record, options);
    if (outcome === 'taken') throw idTaken(record.id);
    return outcome === null;
  }

  /**
   * The record with this id; null when there is none.
   * @throws RecordVersionError when a newer release wrote it
   */
  async find(id: string): Promise<T | null> {
    if (!this.#isOfKind(id)) return null;
    return this.#decode(await this.#redis.hgetall(this.#keys.record(id)));
  }

  /**
   * The record with this id.
   * @throws ProblemError `gone` (410) when it was deleted, `not-found` (404) when it never existed
   */
  async get(id: string): Promise<T> {
    const record = await this.find(id);
    if (record) return record;
    const gone = await this.findGone(id);
    if (gone) throw new ProblemError('gone', `The ${this.#noun} ${id} was deleted at ${gone.at}.`);
    throw new ProblemError(
      'not-found',
      `There is no ${this.#noun} "${id}". Use an id that creating or listing returned.`,
    );
  }

  /**
   * The record that an earlier request may have created under this id; null: none did.
   * @throws ProblemError `gone` (410) when it was deleted, so that it is not created again
   */
  async findUnlessGone(id: string): Promise<T | null> {
    return (await this.find(id)) ?? ((await this.findGone(id)) ? this.get(id) : null);
  }

  /** Time (RFC 3339) and tenant of the deletion of a record; null when none was deleted. */
  async findGone(id: string): Promise<{ readonly at: string; readonly tenant: string } | null> {
    const entry = this.#isOfKind(id) ? await this.#redis.get(this.#keys.gone(id)) : null;
    if (entry === null) return null;
    const [at, tenant = DEFAULT_TENANT] = entry.split(' ');
    return { at, tenant };
  }

  /** The tenant that owns the record; null when there is no such record. */
  async tenantOf(id: string): Promise<string | null> {
    if (!this.#isOfKind(id)) return null;
    const [storedId, tenant] = await this.#redis.hmget(this.#keys.record(id), 'id', 'tenant');
    return storedId === null ? null : (decodeField<string>(tenant) ?? DEFAULT_TENANT);
  }

  /** Changes a record in one step. */
  async change(id: string, change: Change<T>): Promise<Outcome> {
    return commitChange(this.#redis, this.#keys, this.#kind, id, change);
  }

  /** Lists records, newest first. */
  async list({ limit, after, filter, tenant, maxSkipped }: ListOptions<T>): Promise<RecordPage<T>> {
    let skipped = 0;
    const data: T[] = [];
    const index = this.#keys.index(this.#kind, tenant);
    let before = after ? `(${after}` : '+';
    // A short page reads few records; the batch grows while the filter skips records.
    for (let size = Math.min(LIST_BATCH, limit + 1); ; size = Math.min(LIST_BATCH, 2 * size)) {
      const ids = await this.#redis.zrange(index, before, '-', 'BYLEX', 'REV', 'LIMIT', 0, size);
      const pipeline = this.#redis.pipeline();
      for (const id of ids) pipeline.hgetall(this.#keys.record(id));
      for (const [error, hash] of (await pipeline.exec()) ?? []) {
        if (error) throw error;
        const record = await this.#decode(hash as Record<string, string>);
        if (!record || (filter && !filter(record))) continue;
        if (data.length === limit) return { data, hasMore: true, nextAfter: data[data.length - 1].id };
        data.push(record);
      }
      if (ids.length < size) return { data, hasMore: false, nextAfter: null };
      skipped += size;
      if (skipped >= (maxSkipped ?? Number.POSITIVE_INFINITY))
        return { data, hasMore: true, nextAfter: ids[ids.length - 1] };
      before = `(${ids[ids.length - 1]}`;
    }
  }

  /** Number of records, of all tenants or of one. */
  async count(tenant?: string): Promise<number> {
    return this.#redis.zcard(this.#keys.index(this.#kind, tenant));
  }

  /** Iterates over the records of all tenants or of one, oldest first. */
  async *oldestFirst(tenant?: string): AsyncGenerator<T> {
    for await (const ids of this.#idsOldestFirst(LIST_BATCH, tenant))
      for (const record of await Promise.all(ids.map((id) => this.find(id)))) if (record) yield record;
  }

  /** Iterates over pages of ids of the records that have one of these statuses, oldest first. */
  async *idsByStatus(statuses: readonly string[], tenant?: string): AsyncGenerator<string[]> {
    for await (const ids of this.#idsOldestFirst(SCAN_BATCH, tenant)) {
      const pipeline = this.#redis.pipeline();
      for (const id of ids) pipeline.hget(this.#keys.record(id), 'status');
      const found = (await pipeline.exec()) ?? [];
      for (const [error] of found) if (error) throw error;
      yield ids.filter((_, i) => statuses.includes(String(found[i][1])));
    }
  }

  /** The value of an internal field; null when the record has none. */
  async internalField<V>(id: string, name: string): Promise<V | null> {
    return decodeField<V>(await this.#redis.hget(this.#keys.record(id), internalFieldName(name)));
  }

  /** Ids of the records that are deleted with this one: samples of a policy, images of a sample. */
  async children(id: string): Promise<string[]> {
    return this.#redis.smembers(this.#keys.children(id));
  }

  /** Adds records that are deleted with `parent`. */
  async addChildren(parent: string, children: readonly string[]): Promise<void> {
    if (children.length > 0) await this.#redis.sadd(this.#keys.children(parent), ...children);
  }

  /** Removes a record without a trace: requests for it get 404. */
  async discard(id: string): Promise<void> {
    const tenant = (await this.tenantOf(id)) ?? DEFAULT_TENANT;
    await this.#redis
      .multi()
      .zrem(this.#keys.index(this.#kind), id)
      .zrem(this.#keys.index(this.#kind, tenant), id)
      .del(this.#keys.record(id), this.#keys.events(id))
      .exec();
  }

  /**
   * Removes a record and all that belongs to it, and frees its bytes. Requests for it get 410 for
   * `GONE_SECONDS`, then 404.
   * @param at time of the deletion, RFC 3339
   */
  async remove(id: string, at: string): Promise<void> {
    const tenant = (await this.tenantOf(id)) ?? DEFAULT_TENANT;
    await removeRecord(this.#redis, {
      keys: {
        record: this.#keys.record(id),
        children: this.#keys.children(id),
        stream: this.#keys.events(id),
        rewards: this.#keys.rewards(id),
        index: this.#keys.index(this.#kind),
        tenantIndex: this.#keys.index(this.#kind, tenant),
        storedBytes: this.#keys.storedBytes(),
        gone: this.#keys.gone(id),
      },
      args: { id, tenant, at, seconds: GONE_SECONDS },
    });
  }

  /**
   * Rewards of the search of a job, in the order in which its noises were evaluated, in pages: a
   * large job has more than fit into one answer of Redis.
   * @param limit number of rewards after which the pages end; by default all
   */
  async *rewardPages(id: string, limit = Number.POSITIVE_INFINITY): AsyncGenerator<StoredReward[]> {
    for (let start = 0; start < limit; start += REWARDS_IN_PAGE) {
      const end = Math.min(start + REWARDS_IN_PAGE, limit);
      const entries = await this.#redis.lrange(this.#keys.rewards(id), start, end - 1);
      if (entries.length > 0) yield entries.map(decodeReward);
      if (entries.length < REWARDS_IN_PAGE) return;
    }
  }

  /**
   * Records of all kinds share one key prefix: without this check, the id of a job would read as a
   * policy.
   */
  #isOfKind(id: string): boolean {
    return id.startsWith(`${this.#kind}_`);
  }

  async #decode(hash: Record<string, string>): Promise<T | null> {
    const decoded = decodeRecord<T>(this.#kind, hash);
    if (decoded === null) return null;
    if (decoded.upgrade) await this.#writeUpgrade(decoded.record.id, decoded.upgrade);
    return decoded.record;
  }

  async #writeUpgrade(id: string, { version, nextVersion, before, after }: Upgrade): Promise<void> {
    await upgradeRecord(this.#redis, {
      keys: { record: this.#keys.record(id) },
      args: { version, nextVersion, beforeJson: JSON.stringify(before), afterJson: JSON.stringify(after) },
    });
  }

  async *#idsOldestFirst(batch: number, tenant?: string): AsyncGenerator<string[]> {
    const index = this.#keys.index(this.#kind, tenant);
    for (let after = '-'; ; ) {
      const ids = await this.#redis.zrange(index, after, '+', 'BYLEX', 'LIMIT', 0, batch);
      yield ids;
      if (ids.length < batch) return;
      after = `(${ids[ids.length - 1]}`;
    }
  }
}

/** The problem of a request for an id that another tenant has. */
export function idTaken(id: string): ProblemError {
  return new ProblemError('conflict', `The id ${id} is taken; choose another one.`);
}
