import { randomUUID } from 'node:crypto';
import type { IdKind } from './ids.ts';
import type { Keys } from './keys.ts';
import { currentVersion, type Fields, migrate } from './migrations.ts';
import { eventOf, type Notice, noticeOf, SNAPSHOT_SECONDS } from './outbox.ts';
import { ProblemError } from './problem.ts';
import { COMMIT, CREATE, MIGRATE } from './record-scripts.ts';
import type { Redis } from './redis.ts';
import { DEFAULT_TENANT } from './tenants.ts';

/** An event to be appended to a record's stream. */
export interface StreamEvent {
  readonly type: string;
  readonly data: unknown;
  /** Events of one type and sequence are appended once, however often the work is done over. */
  readonly sequence?: number;
}

export interface Change<T> {
  /** Fields to be set. */
  readonly set?: Partial<T>;
  readonly events?: readonly StreamEvent[];
  /** Rewards of the draws from `offset` on; what stood there is replaced. */
  readonly rewards?: {
    readonly offset: number;
    readonly iteration: number;
    readonly values: readonly number[];
    /** Scores of each draw's terms; none: the reward is one score. */
    readonly terms?: readonly (readonly number[])[];
  };
  /** Only when a worker took it with this token and nobody took it since. */
  readonly owner?: string;
  /** Only in one of these statuses. */
  readonly statuses?: readonly string[];
  /** Only when these fields were changed, since it was accepted, to these values. */
  readonly expects?: Partial<T>;
  /** Gives the record to the worker with this token. */
  readonly newOwner?: string;
  /** Fields that are in no answer, as secrets: `hidden` alone gives them out. */
  readonly hide?: { readonly [name: string]: unknown };
  /** What the outbox is to get in the same change; a status that clients are told of is put there without it. */
  readonly notice?: Notice;
  /** It is to wait in its queue: remembered, together with the change, until it is seen there (`waiting.ts`). */
  readonly queue?: boolean;
  /** Takes back that it has ended: its `done` event goes. */
  readonly reopen?: boolean;
}

export type Outcome = 'done' | 'missing' | 'not-owner' | 'wrong-status';

type WithCommands = Redis & {
  finderyCommit(...parameters: (string | number)[]): Promise<Outcome>;
  finderyCreate(...parameters: (string | number)[]): Promise<null | 'taken' | 'there'>;
  finderyMigrate(...parameters: (string | number)[]): Promise<null>;
};

/** What every record has; `bytes` are those of its file in storage. */
export interface AnyRecord {
  readonly id: string;
  /** Whose it is. */
  readonly tenant: string;
  readonly bytes?: number;
}

/**
 * Records of one kind, of all tenants: durable, listed by time, changed atomically. Who serves one tenant has `TenantRecords`,
 * which has to guard every method that is added here.
 */
export class Records<T extends AnyRecord> {
  readonly #redis: WithCommands;
  readonly #keys: Keys;
  readonly #kind: IdKind;
  readonly #noun: string;

  constructor(redis: Redis, keys: Keys, kind: IdKind, noun: string) {
    if (!('finderyCommit' in redis)) {
      redis.defineCommand('finderyCommit', { numberOfKeys: 6, lua: COMMIT });
      redis.defineCommand('finderyCreate', { numberOfKeys: 7, lua: CREATE });
      redis.defineCommand('finderyMigrate', { numberOfKeys: 1, lua: MIGRATE });
    }
    this.#redis = redis as WithCommands;
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
  async create(
    record: T,
    options: {
      readonly parent?: string;
      readonly events?: readonly StreamEvent[];
      readonly onlyNew?: boolean;
      readonly hide?: Change<T>['hide'];
      /** Milliseconds since 1970. */
      readonly deadline?: number;
    } = {},
  ): Promise<boolean> {
    const tenant = record.tenant ?? DEFAULT_TENANT;
    const outcome = await this.#redis.finderyCreate(
      this.#keys.record(record.id),
      this.#keys.index(this.#kind),
      this.#keys.children(options.parent ?? ''),
      this.#keys.events(record.id),
      this.#keys.index(this.#kind, tenant),
      this.#keys.storedBytes(),
      this.#keys.deadlines(),
      record.id,
      options.onlyNew ? 1 : 0,
      options.parent ? 1 : 0,
      JSON.stringify([
        '_version',
        String(currentVersion(this.#kind)),
        ...fieldsOf(record),
        ...hiddenFields(options.hide),
      ]),
      JSON.stringify((options.events ?? []).map(({ type, data }) => ({ type, data: JSON.stringify(data) }))),
      tenant,
      record.bytes ?? 0,
      options.deadline ?? '',
    );
    if (outcome === 'taken') throw new ProblemError('conflict', `The id ${record.id} is taken; choose another one.`);
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
    await this.#redis.finderyMigrate(key, version, current, JSON.stringify(before), JSON.stringify(after));
    return migrated;
  }

  /** All kinds lie under one prefix: without this, a job's id would read as a policy's. */
  #isOurs(id: string): boolean {
    return id.startsWith(`${this.#kind}_`);
  }

  async change(id: string, change: Change<T>): Promise<Outcome> {
    const { rewards } = change;
    const status = (change.set as { readonly status?: string } | undefined)?.status;
    const news = change.notice ?? noticeOf(this.#kind, id, status);
    return this.#redis.finderyCommit(
      this.#keys.record(id),
      this.#keys.events(id),
      this.#keys.rewards(id),
      this.#keys.outbox(),
      this.#keys.unqueued(),
      this.#keys.snapshot((news && eventOf(news)) ?? ''),
      change.owner ?? '',
      JSON.stringify(change.statuses ?? []),
      JSON.stringify([...fieldsOf(change.set ?? {}), ...hiddenFields(change.hide)]),
      JSON.stringify(
        (change.events ?? []).map(({ type, data, sequence }) => ({ type, sequence, data: JSON.stringify(data) })),
      ),
      change.newOwner ?? '',
      rewards ? rewards.offset : -1,
      JSON.stringify(
        (rewards?.values ?? []).map((value, i) => [rewards?.iteration, value, ...(rewards?.terms?.[i] ?? [])].join()),
      ),
      this.#keys.changes(),
      id,
      news ? JSON.stringify(news) : '',
      change.notice ? '' : (status ?? ''),
      randomUUID(),
      JSON.stringify(fieldsOf(change.expects ?? {})),
      change.queue ? 1 : 0,
      change.reopen ? 1 : 0,
      SNAPSHOT_SECONDS,
    );
  }

  /** Newest first, everybody's or one tenant's. `accept` filters; a page may look at many records to fill itself. */
  async list(options: {
    readonly limit: number;
    readonly after?: string;
    readonly accept?: (record: T) => boolean;
    readonly tenant?: string;
  }): Promise<{ data: T[]; hasMore: boolean }> {
    const data: T[] = [];
    const index = this.#keys.index(this.#kind, options.tenant);
    let before = options.after ? `(${options.after}` : '+';
    for (;;) {
      const ids = await this.#redis.zrange(index, before, '-', 'BYLEX', 'REV', 'LIMIT', 0, 100);
      const pipeline = this.#redis.pipeline();
      for (const id of ids) pipeline.hgetall(this.#keys.record(id));
      for (const [error, fields] of (await pipeline.exec()) ?? []) {
        if (error) throw error;
        const record = await this.#read(fields as Record<string, string>);
        if (!record || (options.accept && !options.accept(record))) continue;
        if (data.length === options.limit) return { data, hasMore: true };
        data.push(record);
      }
      if (ids.length < 100) return { data, hasMore: false };
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
      for (const id of ids) {
        const record = await this.find(id);
        if (record) yield record;
      }
      if (ids.length < 100) return;
      after = `(${ids[ids.length - 1]}`;
    }
  }

  /** A field that `hide` wrote; null: there is none. */
  async hidden<V>(id: string, name: string): Promise<V | null> {
    const value = await this.#redis.hget(this.#keys.record(id), `_${name}`);
    return value === null ? null : (JSON.parse(value) as V);
  }

  /** Ids of all records in one of these statuses, everybody's or one tenant's, newest first, a page at a time. */
  async *idsWith(statuses: readonly string[], tenant?: string): AsyncGenerator<string[]> {
    const index = this.#keys.index(this.#kind, tenant);
    for (let before = '+'; ; ) {
      const ids = await this.#redis.zrange(index, before, '-', 'BYLEX', 'REV', 'LIMIT', 0, 500);
      const pipeline = this.#redis.pipeline();
      for (const id of ids) pipeline.hget(this.#keys.record(id), 'status');
      const found = (await pipeline.exec()) ?? [];
      for (const [error] of found) if (error) throw error;
      yield ids.filter((_, i) => statuses.includes(String(found[i][1])));
      if (ids.length < 500) return;
      before = `(${ids[ids.length - 1]}`;
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

/** Names and values of a record as Redis keeps them. */
export function fieldsOf(record: object): string[] {
  return Object.entries(record)
    .filter(([, value]) => value !== undefined)
    .flatMap(([name, value]) => [name, name === 'status' ? String(value) : JSON.stringify(value)]);
}

/**
 * The same of new work: what scripts and indexes look at by itself, and all the rest in one field, `_accepted`. Fields that are changed
 * later stand beside it and have the last word. Dozens of fields, most of which nobody changes, would be half of what accepting costs.
 */
export function acceptedFields({ id, tenant, status, ...rest }: AnyRecord & { readonly status: string }): string[] {
  return [...fieldsOf({ id, tenant, status }), '_accepted', JSON.stringify(rest)];
}

/** The same of what is in no answer. */
export function hiddenFields(hide: Change<unknown>['hide'] = {}): string[] {
  return Object.entries(hide).flatMap(([name, value]) => [`_${name}`, JSON.stringify(value)]);
}

/** A record as Redis has it, brought up to this findery's version; null: there is none. */
export function readFields<T>(kind: IdKind, fields: Record<string, string>): T | null {
  const record = parseRecord<T>(fields);
  return record && (migrate(kind, record as Fields, Number(fields._version ?? 0)) as T);
}

/** A record from what Redis has of it; null: nothing. */
export function parseRecord<T>(fields: Record<string, string>): T | null {
  const entries = Object.entries(fields).filter(([name]) => !name.startsWith('_'));
  if (entries.length === 0) return null;
  const values = entries.map(([name, value]) => [name, name === 'status' ? value : JSON.parse(value)]);
  const accepted = fields._accepted === undefined ? {} : (JSON.parse(fields._accepted) as object);
  return { tenant: DEFAULT_TENANT, ...accepted, ...Object.fromEntries(values) } as T;
}
