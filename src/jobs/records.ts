import type { IdKind } from './ids.ts';
import type { Keys } from './keys.ts';
import { type Notice, noticeOf, OUTBOX_CHANGED } from './outbox.ts';
import { ProblemError } from './problem.ts';
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
  /** Gives the record to the worker with this token. */
  readonly newOwner?: string;
  /** Fields that are in no answer, as secrets: `hidden` alone gives them out. */
  readonly hide?: { readonly [name: string]: unknown };
  /** What the outbox is to get in the same change; a status that clients are told of is put there without it. */
  readonly notice?: Notice;
}

export type Outcome = 'done' | 'missing' | 'not-owner' | 'wrong-status';

/**
 * One change of a record, all or nothing: fields, events, rewards, and the message that wakes who waits. The owner's
 * token fences it: a worker that lost its job to another one can't write over it. A notice for the outbox is part of the
 * change: whoever crashes after it, what happened is told. That a status became what it was already is no news.
 */
const COMMIT = `
local record, stream, rewards, outbox = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local owner, statuses, fields, events = ARGV[1], cjson.decode(ARGV[2]), cjson.decode(ARGV[3]), cjson.decode(ARGV[4])
local new_owner, offset, values, channel, id = ARGV[5], tonumber(ARGV[6]), cjson.decode(ARGV[7]), ARGV[8], ARGV[9]
local notice, new_status = ARGV[10], ARGV[11]
if redis.call('EXISTS', record) == 0 then return 'missing' end
if owner ~= '' and redis.call('HGET', record, '_owner') ~= owner then return 'not-owner' end
if #statuses > 0 then
  local status, allowed = redis.call('HGET', record, 'status'), false
  for _, candidate in ipairs(statuses) do if candidate == status then allowed = true end end
  if not allowed then return 'wrong-status' end
end
if new_status ~= '' and redis.call('HGET', record, 'status') == new_status then notice = '' end
if new_owner ~= '' then redis.call('HSET', record, '_owner', new_owner) end
for i = 1, #fields, 2 do redis.call('HSET', record, fields[i], fields[i + 1]) end
if offset >= 0 then
  if offset == 0 then redis.call('DEL', rewards) else redis.call('LTRIM', rewards, 0, offset - 1) end
  for _, value in ipairs(values) do redis.call('RPUSH', rewards, value) end
end
for _, event in ipairs(events) do
  local fresh = true
  if event.sequence then
    local field = '_sequence:' .. event.type
    if tonumber(redis.call('HGET', record, field) or '-1') >= event.sequence then fresh = false
    else redis.call('HSET', record, field, event.sequence) end
  end
  if fresh then redis.call('XADD', stream, 'MAXLEN', '~', 20000, '*', 'type', event.type, 'data', event.data) end
end
redis.call('PUBLISH', channel, id)
if notice ~= '' then
  redis.call('ZADD', outbox, 0, notice)
  redis.call('PUBLISH', channel, '${OUTBOX_CHANGED}')
end
return 'done'
`;

/** A new record, all or nothing; two requests with one id (idempotency) can't write over each other. */
const CREATE = `
local record, index, children, stream, tenants_index, stored_bytes = unpack(KEYS)
local id, only_new, has_parent, fields, events = ARGV[1], ARGV[2], ARGV[3], cjson.decode(ARGV[4]), cjson.decode(ARGV[5])
local tenant, bytes = ARGV[6], tonumber(ARGV[7])
if redis.call('EXISTS', record) == 1 then
  local owner = redis.call('HGET', record, 'tenant') or '"default"'
  if owner ~= '"' .. tenant .. '"' then return 'taken' end
  if only_new == '1' then return end
end
local more = bytes - tonumber(redis.call('HGET', record, 'bytes') or '0')
if more ~= 0 then redis.call('HINCRBY', stored_bytes, tenant, more) end
for i = 1, #fields, 2 do redis.call('HSET', record, fields[i], fields[i + 1]) end
redis.call('ZADD', index, 0, id)
redis.call('ZADD', tenants_index, 0, id)
if has_parent == '1' then redis.call('SADD', children, id) end
for _, event in ipairs(events) do redis.call('XADD', stream, '*', 'type', event.type, 'data', event.data) end
`;

type WithCommands = Redis & {
  finderyCommit(...parameters: (string | number)[]): Promise<Outcome>;
  finderyCreate(...parameters: (string | number)[]): Promise<null | 'taken'>;
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
      redis.defineCommand('finderyCommit', { numberOfKeys: 4, lua: COMMIT });
      redis.defineCommand('finderyCreate', { numberOfKeys: 6, lua: CREATE });
    }
    this.#redis = redis as WithCommands;
    this.#keys = keys;
    this.#kind = kind;
    this.#noun = noun;
  }

  /**
   * Writes a record with its first events, over one with this id (work that is done over) unless it is to be `onlyNew`.
   * @throws ProblemError `conflict` when another tenant has this id
   */
  async create(
    record: T,
    options: {
      readonly parent?: string;
      readonly events?: readonly StreamEvent[];
      readonly onlyNew?: boolean;
      readonly hide?: Change<T>['hide'];
    } = {},
  ): Promise<void> {
    const tenant = record.tenant ?? DEFAULT_TENANT;
    const outcome = await this.#redis.finderyCreate(
      this.#keys.record(record.id),
      this.#keys.index(this.#kind),
      this.#keys.children(options.parent ?? ''),
      this.#keys.events(record.id),
      this.#keys.index(this.#kind, tenant),
      this.#keys.storedBytes(),
      record.id,
      options.onlyNew ? 1 : 0,
      options.parent ? 1 : 0,
      JSON.stringify([...fieldsOf(record), ...hiddenFields(options.hide)]),
      JSON.stringify((options.events ?? []).map(({ type, data }) => ({ type, data: JSON.stringify(data) }))),
      tenant,
      record.bytes ?? 0,
    );
    if (outcome === 'taken') throw new ProblemError('conflict', `The id ${record.id} is taken; choose another one.`);
  }

  async find(id: string): Promise<T | null> {
    if (!this.#isOurs(id)) return null;
    return parseRecord<T>(await this.#redis.hgetall(this.#keys.record(id)));
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
        const record = parseRecord<T>(fields as Record<string, string>);
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

  /** Ids of what belongs to it (samples of a policy, images of a sample). */
  async children(id: string): Promise<string[]> {
    return this.#redis.smembers(this.#keys.children(id));
  }

  async adopt(parent: string, children: readonly string[]): Promise<void> {
    if (children.length > 0) await this.#redis.sadd(this.#keys.children(parent), ...children);
  }

  /** Takes back a record that was never handed out: as if it had not been there. */
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

function fieldsOf(record: object): string[] {
  return Object.entries(record)
    .filter(([, value]) => value !== undefined)
    .flatMap(([name, value]) => [name, name === 'status' ? String(value) : JSON.stringify(value)]);
}

function hiddenFields(hide: Change<unknown>['hide'] = {}): string[] {
  return Object.entries(hide).flatMap(([name, value]) => [`_${name}`, JSON.stringify(value)]);
}

function parseRecord<T>(fields: Record<string, string>): T | null {
  const entries = Object.entries(fields).filter(([name]) => !name.startsWith('_'));
  if (entries.length === 0) return null;
  const values = entries.map(([name, value]) => [name, name === 'status' ? value : JSON.parse(value)]);
  return { tenant: DEFAULT_TENANT, ...Object.fromEntries(values) } as T;
}
