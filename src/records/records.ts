import type { IdKind } from '../contract/ids.ts';
import { ProblemError } from '../contract/problem.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { defineScript } from '../redis/lua-script.ts';
import { currentVersion } from './migrations.ts';
import {
  type AnyRecord,
  type Change,
  type Creation,
  commitParameters,
  createParameters,
  type Outcome,
} from './record-change.ts';
import { fieldsOf, parseRecord, readFields } from './record-fields.ts';
import { COMMIT, CREATE, MIGRATE } from './record-scripts.ts';

/** Records of a list that are read at a time. */
const READ_BATCH = 100;
/** Records that one request for a page may pass over: hundreds of thousands would keep this process and Redis from all else. */
export const MAX_SKIPPED = 5000;

/** A page of a list. */
export interface Listed<T> {
  readonly data: T[];
  /** Whether there are more, or may be: those that were not looked at. */
  readonly hasMore: boolean;
  /** Where the next page begins; null: there is none. */
  readonly nextAfter: string | null;
}

const commit = defineScript<Outcome>('commit', COMMIT, 6);
const create = defineScript<null | 'taken' | 'there'>('create', CREATE, 7);
const bringUp = defineScript<null>('bring-up', MIGRATE, 1);

/**
 * Records of one kind, of all tenants: durable, listed by time, changed atomically. Who serves one tenant has `TenantRecords`,
 * which has to guard every method that is added here.
 */
export class Records<T extends AnyRecord> {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #kind: IdKind;
  readonly #noun: string;

  constructor(redis: Redis, keys: RedisKeys, kind: IdKind, noun: string) {
    this.#redis = redis;
    this.#keys = keys;
    this.#kind = kind;
    this.#noun = noun;
  }

  /**
   * Writes a record with its first events, over one with this id (work that is done over) unless it is to be `onlyNew`.
   * (New work that is to be queued: `acceptWork`.)
   * @returns false when there was one that stays as it was
   * @throws ProblemError `conflict` when another tenant has this id
   */
  async create(record: T, options: Creation = {}): Promise<boolean> {
    const outcome = await create(this.#redis, ...createParameters(this.#keys, this.#kind, record, options));
    if (outcome === 'taken')
      throw new ProblemError('conflict', `The id ${record.id} is taken; choose another one.`);
    return outcome === null;
  }

  async find(id: string): Promise<T | null> {
    if (!this.#isOurs(id)) return null;
    return this.#read(await this.#redis.hgetall(this.#keys.record(id)));
  }

  /**
   * The record with this id.
   * @throws ProblemError `gone` (410) when it was deleted, `not-found` (404) when there never was one.
   */
  async get(id: string): Promise<T> {
    const record = await this.find(id);
    if (record) return record;
    const gone = await this.findGone(id);
    if (gone) throw new ProblemError('gone', `The ${this.#noun} ${id} was deleted at ${gone.at}.`);
    throw new ProblemError(
      'not-found',
      `There is no ${this.#noun} "${id}". Ids are those that creating or listing returned.`,
    );
  }

  /** When it was deleted, and whose it was; null: it was not. */
  async findGone(id: string): Promise<{ readonly at: string; readonly tenant: string } | null> {
    const entry = this.#isOurs(id) ? await this.#redis.get(this.#keys.gone(id)) : null;
    if (entry === null) return null;
    const [at, tenant = DEFAULT_TENANT] = entry.split(' ');
    return { at, tenant };
  }

  /** Whose it is; null: there is no such record. */
  async tenantOf(id: string): Promise<string | null> {
    if (!this.#isOurs(id)) return null;
    const [known, tenant] = await this.#redis.hmget(this.#keys.record(id), 'id', 'tenant');
    if (known === null) return null;
    return tenant ? (JSON.parse(tenant) as string) : DEFAULT_TENANT;
  }

  /**
   * A record as this findery knows it; one of an older version is brought up to it, here and in Redis.
   * @throws RecordVersionError when it is of a newer one
   */
  async #read(fields: Record<string, string>): Promise<T | null> {
    const record = parseRecord<T>(fields);
    const version = fields._version ?? '0';
    const current = currentVersion(this.#kind);
    if (!record || version === String(current)) return record;
    const migrated = readFields<T>(this.#kind, fields) as T;
    const after: string[] = [];
    const before: string[] = [];
    const pairs = fieldsOf(migrated);
    for (let i = 0; i < pairs.length; i += 2) {
      const [name, value] = pairs.slice(i, i + 2);
      if (fields[name] === value) continue;
      before.push(name, fields[name] ?? '');
      after.push(name, value);
    }
    const key = this.#keys.record(record.id);
    await bringUp(this.#redis, key, version, current, JSON.stringify(before), JSON.stringify(after));
    return migrated;
  }

  /** All kinds lie under one prefix: without this, a job's id would read as a policy's. */
  #isOurs(id: string): boolean {
    return id.startsWith(`${this.#kind}_`);
  }

  async change(id: string, change: Change<T>): Promise<Outcome> {
    return commit(this.#redis, ...commitParameters(this.#keys, this.#kind, id, change));
  }

  /**
   * Newest first, everybody's or one tenant's. `accept` filters; a page may look at many records to fill itself, and is short, or empty, when
   * it has passed `mostPassed` (left out: any number).
   */
  async list(options: {
    readonly limit: number;
    readonly after?: string;
    readonly accept?: (record: T) => boolean;
    readonly tenant?: string;
    readonly mostPassed?: number;
  }): Promise<Listed<T>> {
    let passed = 0;
    const data: T[] = [];
    const index = this.#keys.index(this.#kind, options.tenant);
    let before = options.after ? `(${options.after}` : '+';
    // A short list reads few records; one that passes over many reads more at a time.
    for (let size = Math.min(READ_BATCH, options.limit + 1); ; size = Math.min(READ_BATCH, 2 * size)) {
      const ids = await this.#redis.zrange(index, before, '-', 'BYLEX', 'REV', 'LIMIT', 0, size);
      const pipeline = this.#redis.pipeline();
      for (const id of ids) pipeline.hgetall(this.#keys.record(id));
      for (const [error, fields] of (await pipeline.exec()) ?? []) {
        if (error) throw error;
        const record = await this.#read(fields as Record<string, string>);
        if (!record || (options.accept && !options.accept(record))) continue;
        if (data.length === options.limit)
          return { data, hasMore: true, nextAfter: data[data.length - 1].id };
        data.push(record);
      }
      if (ids.length < size) return { data, hasMore: false, nextAfter: null };
      passed += size;
      if (passed >= (options.mostPassed ?? Number.POSITIVE_INFINITY))
        return { data, hasMore: true, nextAfter: ids[ids.length - 1] };
      before = `(${ids[ids.length - 1]}`;
    }
  }

  /** How many there are, everybody's or one tenant's. */
  async count(tenant?: string): Promise<number> {
    return this.#redis.zcard(this.#keys.index(this.#kind, tenant));
  }

  /** Everybody's or one tenant's, oldest first. */
  async *fromOldest(tenant?: string): AsyncGenerator<T> {
    const index = this.#keys.index(this.#kind, tenant);
    for (let after = '-'; ; ) {
      const ids = await this.#redis.zrange(index, after, '+', 'BYLEX', 'LIMIT', 0, 100);
      for (const record of await Promise.all(ids.map((id) => this.find(id)))) if (record) yield record;
      if (ids.length < 100) return;
      after = `(${ids[ids.length - 1]}`;
    }
  }

  /** A field that `hide` wrote; null: there is none. */
  async hidden<V>(id: string, name: string): Promise<V | null> {
    const value = await this.#redis.hget(this.#keys.record(id), `_${name}`);
    return value === null ? null : (JSON.parse(value) as V);
  }

  /** Ids of all records in one of these statuses, everybody's or one tenant's, oldest first, a page at a time. */
  async *idsWith(statuses: readonly string[], tenant?: string): AsyncGenerator<string[]> {
    const index = this.#keys.index(this.#kind, tenant);
    for (let after = '-'; ; ) {
      const ids = await this.#redis.zrange(index, after, '+', 'BYLEX', 'LIMIT', 0, 500);
      const pipeline = this.#redis.pipeline();
      for (const id of ids) pipeline.hget(this.#keys.record(id), 'status');
      const found = (await pipeline.exec()) ?? [];
      for (const [error] of found) if (error) throw error;
      yield ids.filter((_, i) => statuses.includes(String(found[i][1])));
      if (ids.length < 500) return;
      after = `(${ids[ids.length - 1]}`;
    }
  }

  /** Ids of what belongs to it (samples of a policy, images of a sample). */
  async children(id: string): Promise<string[]> {
    return this.#redis.smembers(this.#keys.children(id));
  }

  async adopt(parent: string, children: readonly string[]): Promise<void> {
    if (children.length > 0) await this.#redis.sadd(this.#keys.children(parent), ...children);
  }

  /** Forgets it, as if it had not been there. */
  async discard(id: string): Promise<void> {
    const tenant = (await this.tenantOf(id)) ?? DEFAULT_TENANT;
    await this.#redis
      .multi()
      .zrem(this.#keys.index(this.#kind), id)
      .zrem(this.#keys.index(this.#kind, tenant), id)
      .del(this.#keys.record(id), this.#keys.events(id))
      .exec();
  }

  /** Forgets it, but not that it was there. */
  async remove(id: string, at: string): Promise<void> {
    const record = parseRecord<T>(await this.#redis.hgetall(this.#keys.record(id)));
    const { tenant = DEFAULT_TENANT, bytes = 0 } = record ?? {};
    await this.#redis
      .multi()
      .set(this.#keys.gone(id), `${at} ${tenant}`)
      .hincrby(this.#keys.storedBytes(), tenant, -bytes)
      .zrem(this.#keys.index(this.#kind), id)
      .zrem(this.#keys.index(this.#kind, tenant), id)
      .del(this.#keys.record(id), this.#keys.children(id), this.#keys.events(id), this.#keys.rewards(id))
      .exec();
  }

  /** Rewards of a job's search in the order of its draws. */
  async rewards(id: string): Promise<{ iteration: number; reward: number; terms: number[] }[]> {
    const entries = await this.#redis.lrange(this.#keys.rewards(id), 0, -1);
    return entries.map((entry) => {
      const [iteration, reward, ...terms] = entry.split(',').map(Number);
      return { iteration, reward, terms };
    });
  }
}
