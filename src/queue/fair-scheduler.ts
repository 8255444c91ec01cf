import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { defineScript } from '../redis/lua-script.ts';
import { prioritizedKey } from './bullmq-keys.ts';

/** Entries that one round trip of `registerAll` reads, about. */
const SCAN_BATCH = 500;
/** Tenants with waiting entries that `figures` looks at, so that its time has a bound. */
const MAX_TENANTS = 1000;
/** Time in which an entry that has to yield goes back to the queue, before another one is asked. */
const YIELD_MS = 10_000;

const register = defineScript<null>(import.meta.url, './lua/register.lua');
const leave = defineScript<0 | 1>(import.meta.url, './lua/leave.lua');
const askToYield = defineScript<0 | 1>(import.meta.url, './lua/ask-to-yield.lua');
const giveWay = defineScript<null>(import.meta.url, './lua/give-way.lua');
const finish = defineScript<null>(import.meta.url, './lua/finish.lua');
const figures = defineScript<string>(import.meta.url, './lua/figures.lua');
const position = defineScript<number>(import.meta.url, './lua/position.lua');

/** An entry of the queue. `model` is '' if an earlier release added it. */
export interface ScheduledEntry {
  readonly tenant: string;
  readonly id: string;
  readonly model: string;
}

/**
 * Waiting entries of a tenant or of a model: its name, their number, and when the oldest was
 * enqueued, milliseconds since 1970; left out when it is not known.
 */
export type Figure = readonly [name: string, entries: number, since?: number];

/** Waiting entries of a queue; tenants and models without one are left out. */
export interface QueueFigures {
  /** The most entries first. */
  readonly tenants: readonly Figure[];
  readonly models: readonly Figure[];
}

/**
 * Round robin between the tenants of one queue of BullMQ: each tenant has one scheduled entry, and
 * all others are deferred. `lua/includes/fair-scheduling.lua` explains how.
 */
export class FairScheduler {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #queue: string;
  readonly #queuePrefix: string;

  /**
   * @param queue name of the queue
   * @param queuePrefix of BullMQ's keys of this queue
   */
  constructor(redis: Redis, keys: RedisKeys, queue: string, queuePrefix: string) {
    this.#redis = redis;
    this.#keys = keys;
    this.#queue = queue;
    this.#queuePrefix = queuePrefix;
  }

  /**
   * Takes up entries that were added to the queue by `Queue.add`. Entries that it knows stay as
   * they are.
   */
  async register(...ids: string[]): Promise<void> {
    await register(this.#redis, {
      ...this.#inputWithModels({}),
      entries: ids.map((id) => ({ args: { id } })),
    });
  }

  /**
   * Schedules the tenant's next entry, since a worker has begun with this one.
   * @returns false when the tenant runs as many entries as it may: the worker has to put this one
   *   back (`giveWay`)
   */
  async begin({ tenant, id, model }: ScheduledEntry): Promise<boolean> {
    const input = this.#inputWithModels({ tenant, id, model, hasBegun: 1 });
    return (await leave(this.#redis, input)) === 1;
  }

  /** Schedules the next entry of a tenant with a limit, since a worker has let go of this one. */
  async finish(tenant: string, id: string): Promise<void> {
    await finish(this.#redis, this.#input({ tenant, id }));
  }

  /** Schedules the next entry of one tenant, in case a crash prevented it. Call it now and then. */
  async repair(): Promise<void> {
    await finish(this.#redis, this.#input({ tenant: '', id: '' }));
  }

  /** Whether an entry waits until its tenant runs fewer entries than its limit. */
  async isHeld(id: string): Promise<boolean> {
    return (await this.#redis.sismember(this.#keys.held(this.#queue), id)) === 1;
  }

  /** Number of entries of all tenants for which `isHeld` holds. */
  async countHeld(): Promise<number> {
    return this.#redis.scard(this.#keys.held(this.#queue));
  }

  /** Schedules the tenant's next entry, since this one was removed from the queue. */
  async remove({ tenant, id, model }: ScheduledEntry): Promise<void> {
    await leave(this.#redis, this.#inputWithModels({ tenant, id, model, hasBegun: 0 }));
  }

  /**
   * Whether a running entry has to make room for one that waits. If so, no other entry of the queue
   * has to until `giveWay`, or for ten seconds.
   */
  async mustYield(tenant: string, id: string): Promise<boolean> {
    return (await askToYield(this.#redis, this.#yieldInput({ tenant, id, milliseconds: YIELD_MS }))) === 1;
  }

  /**
   * Puts a running entry behind those that wait.
   * @param giveBack puts it back into BullMQ's queue
   */
  async giveWay(tenant: string, id: string, giveBack: () => Promise<void>): Promise<void> {
    await giveWay(this.#redis, this.#yieldInput({ tenant, id, isBack: 0 }));
    await giveBack();
    await giveWay(this.#redis, this.#yieldInput({ tenant, id, isBack: 1 }));
  }

  /** Position of an entry if nothing else is enqueued, from 1; null when it does not wait. */
  async position(id: string): Promise<number | null> {
    return (await position(this.#redis, this.#input({ id }))) || null;
  }

  /** Number of entries of a tenant that wait for their first attempt. */
  async count(tenant: string): Promise<number> {
    return this.#redis.zcard(this.#keys.waiting(this.#queue, tenant));
  }

  /**
   * Counts waiting entries and reads the time of the oldest.
   * @param models that are looked at
   * @param maxListed tenants in the answer, those with the most entries
   */
  async figures(models: readonly string[], maxListed: number): Promise<QueueFigures> {
    const json = await figures(
      this.#redis,
      this.#inputWithModels({ modelsJson: JSON.stringify(models), maxTenants: MAX_TENANTS, maxListed }),
    );
    // cjson writes an empty list as {}.
    const { tenants, models: byModel } = JSON.parse(json) as Record<string, Figure[] | object>;
    const listOf = (value: Figure[] | object) => (Array.isArray(value) ? value : []);
    return { tenants: listOf(tenants), models: listOf(byModel) };
  }

  /**
   * Registers all entries of the queue. An entry is unknown after a crash between `Queue.add` and
   * `register`, or when a release without the scheduler queued it.
   */
  async registerAll(): Promise<void> {
    let cursor = '0';
    do {
      const [next, entries] = await this.#redis.zscan(
        prioritizedKey(this.#queuePrefix),
        cursor,
        'COUNT',
        SCAN_BATCH,
      );
      const ids = entries.filter((_, i) => i % 2 === 0); // ids and scores, alternately
      if (ids.length > 0) await this.register(...ids);
      cursor = next;
    } while (cursor !== '0');
  }

  #inputWithModels(args: { readonly [name: string]: string | number }) {
    return this.#input({ modelsPrefix: this.#keys.modelsPrefix(this.#queue), ...args });
  }

  #yieldInput(args: { readonly [name: string]: string | number }) {
    const { keys, args: all } = this.#input(args);
    return { keys: { ...keys, yielding: this.#keys.yielding(this.#queue) }, args: all };
  }

  #input(args: { readonly [name: string]: string | number }) {
    return {
      keys: { ...this.#keys.scheduler(this.#queue) },
      args: {
        queuePrefix: this.#queuePrefix,
        waitingPrefix: this.#keys.waitingPrefix(this.#queue),
        ...args,
      },
    };
  }
}
