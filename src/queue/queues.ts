import { Queue } from 'bullmq';
import type { PRIORITIES } from '../contract/schemas/job.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { activeKey, entryKey, entryOptions, queuePrefix } from './bullmq-keys.ts';
import { FairScheduler, type QueueFigures } from './fair-scheduler.ts';

/** Queues of work for workers. An entry holds ids; the record says what is to be done. */
export const QUEUES = { optimize: 'optimize', sample: 'sample' } as const;
/** `optimize`: jobs. `sample`: batches of samples. */
export type QueueName = keyof typeof QUEUES;

/** The queue in which the work of this id waits. */
export function queueOf(id: string): QueueName {
  return id.startsWith('smp_') ? 'sample' : 'optimize';
}

/** A record of a job or a batch of samples that can be queued. */
export interface Queueable {
  readonly id: string;
  readonly tenant: string;
  readonly priority: (typeof PRIORITIES)[number];
  readonly model: string;
}

/** The queues of jobs and samples, with their fair schedulers. */
export class Queues {
  readonly #redis: Redis;
  readonly #queues: Record<QueueName, Queue>;
  readonly #prefixes: Record<QueueName, string>;
  readonly #schedulers: Record<QueueName, FairScheduler>;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    const open = (name: QueueName) =>
      new Queue(QUEUES[name], { connection: redis, prefix: keys.queuePrefix(), skipWaitingForReady: true });
    const schedulerOf = (name: QueueName) => new FairScheduler(redis, keys, name, this.prefix(name));
    this.#queues = { optimize: open('optimize'), sample: open('sample') };
    const { optimize, sample } = this.#queues;
    this.#prefixes = { optimize: queuePrefix(optimize), sample: queuePrefix(sample) };
    this.#schedulers = { optimize: schedulerOf('optimize'), sample: schedulerOf('sample') };
    // Without a listener, an error of the connection would end the process; `redis` reports the
    // same error.
    for (const queue of Object.values(this.#queues)) queue.on('error', () => {});
  }

  /** Queues a record again. While an entry with its id waits or runs, this changes nothing. */
  async add(name: QueueName, { id, tenant, priority, model }: Queueable): Promise<void> {
    await this.#queues[name].add(name, { id, tenant, model }, entryOptions(id, priority));
    await this.#schedulers[name].register(id);
  }

  /** Prefix of BullMQ's keys of a queue, with the colon at its end. */
  prefix(name: QueueName): string {
    return this.#prefixes[name];
  }

  /**
   * A worker calls this when it begins with an entry: the tenant's next one is scheduled.
   * @returns false when the worker has to put it back (`FairScheduler.begin`)
   */
  async begin(
    name: QueueName,
    entry: { readonly id: string; readonly tenant?: string; readonly model?: string },
  ): Promise<boolean> {
    const { id, tenant = DEFAULT_TENANT, model = '' } = entry;
    return this.#schedulers[name].begin({ tenant, id, model });
  }

  /** A worker calls this when it has let go of an entry for which `begin` returned true. */
  async finish(
    name: QueueName,
    { id, tenant = DEFAULT_TENANT }: { readonly id: string; readonly tenant?: string },
  ): Promise<void> {
    await this.#schedulers[name].finish(tenant, id);
  }

  /** Schedules entries whose scheduling a crash prevented, of one tenant. */
  async repair(): Promise<void> {
    await this.#schedulers.optimize.repair();
  }

  /** Whether a running entry has to make room for one that waits (`FairScheduler.mustYield`). */
  async mustYield(name: QueueName, { id, tenant }: Pick<Queueable, 'id' | 'tenant'>): Promise<boolean> {
    return this.#schedulers[name].mustYield(tenant, id);
  }

  /** Puts a running entry behind those that wait (`FairScheduler.giveWay`). */
  async giveWay(
    name: QueueName,
    { id, tenant = DEFAULT_TENANT }: { readonly id: string; readonly tenant?: string },
    giveBack: () => Promise<void>,
  ): Promise<void> {
    await this.#schedulers[name].giveWay(tenant, id, giveBack);
  }

  /** Number of entries of a tenant that wait for their first attempt, by queue. */
  async waitingOf(tenant: string): Promise<Record<QueueName, number>> {
    const [optimize, sample] = await Promise.all([
      this.#schedulers.optimize.count(tenant),
      this.#schedulers.sample.count(tenant),
    ]);
    return { optimize, sample };
  }

  /** Ids of the entries that workers have. */
  async active(name: QueueName): Promise<string[]> {
    return this.#redis.lrange(activeKey(this.prefix(name)), 0, -1);
  }

  /** Registers all waiting entries with the fair schedulers. An API calls this when it starts. */
  async registerAll(): Promise<void> {
    await Promise.all(Object.values(this.#schedulers).map((scheduler) => scheduler.registerAll()));
  }

  /**
   * Removes an entry that waits.
   * @returns false when it does not wait (any more)
   */
  async remove(name: QueueName, id: string): Promise<boolean> {
    const entry = await this.#queues[name].getJob(id);
    if (!entry) return false;
    try {
      await entry.remove();
    } catch {
      return false; // a worker has it
    }
    const { tenant = DEFAULT_TENANT, model = '' } = entry.data as {
      readonly tenant?: string;
      readonly model?: string;
    };
    await this.#schedulers[name].remove({ tenant, id, model });
    return true;
  }

  /** Whether an entry waits or runs. */
  async has(name: QueueName, id: string): Promise<boolean> {
    return (await this.#queues[name].getJob(id)) !== undefined;
  }

  /** Those of `ids` that neither wait nor run. */
  async missing(name: QueueName, ids: readonly string[]): Promise<string[]> {
    const prefix = this.prefix(name);
    const pipeline = this.#redis.pipeline();
    for (const id of ids) pipeline.exists(entryKey(prefix, id));
    const found = (await pipeline.exec()) ?? [];
    for (const [error] of found) if (error) throw error;
    return ids.filter((_, i) => found[i][1] === 0);
  }

  /** Whether an entry waits, for a worker or for its next attempt. */
  async waits(name: QueueName, id: string): Promise<boolean> {
    const state = await this.#queues[name].getJobState(id);
    if (['prioritized', 'waiting', 'delayed'].includes(state)) return true;
    return this.#schedulers[name].isHeld(id);
  }

  /** Position of an entry if nothing else is enqueued, from 1; null when it does not wait. */
  async position(name: QueueName, id: string): Promise<number | null> {
    return this.#schedulers[name].position(id);
  }

  /**
   * Number of entries that wait (for a worker, or for their next attempt) and that workers have.
   */
  async count(name: QueueName): Promise<{ waiting: number; active: number }> {
    const [{ active, ...waiting }, held] = await Promise.all([
      this.#queues[name].getJobCounts('wait', 'prioritized', 'delayed', 'active'),
      this.#schedulers[name].countHeld(),
    ]);
    return { waiting: Object.values(waiting).reduce((sum, count) => sum + count, held), active };
  }

  /** Waiting entries by tenant and model; see `FairScheduler.figures`. */
  async figures(name: QueueName, models: readonly string[], maxListed: number): Promise<QueueFigures> {
    return this.#schedulers[name].figures(models, maxListed);
  }

  /** Ends the queues; the connection stays open. */
  async close(): Promise<void> {
    await Promise.all(Object.values(this.#queues).map((queue) => queue.close()));
  }
}
