import { Queue } from 'bullmq';
import type { PRIORITIES } from '../contract/schemas/job.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { DEFERRED_PRIORITY, FairScheduler } from './fair-scheduler.ts';

/** Work that waits for a worker. Job data are ids; what is to be done is in the record. */
export const QUEUES = { optimize: 'optimize', sample: 'sample' } as const;
export type QueueName = keyof typeof QUEUES;

/** What is to be queued: a record of a job or of samples. */
export interface Queueable {
  readonly id: string;
  readonly tenant: string;
  readonly priority: (typeof PRIORITIES)[number];
}

/** What every entry has. */
export const ENTRY_OPTIONS = {
  // Failures that a second try can't mend are thrown as unrecoverable; the rest (storage, Redis) is tried again.
  attempts: 4,
  backoff: { type: 'exponential', delay: 1000 },
  removeOnComplete: true,
  removeOnFail: true,
  stackTraceLimit: 1,
  sizeLimit: 1024,
};

/** The API's side of the queues. */
export class Queues {
  readonly #redis: Redis;
  readonly #queues: Record<QueueName, Queue>;
  readonly #turns: Record<QueueName, FairScheduler>;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    const open = (name: QueueName) =>
      new Queue(QUEUES[name], { connection: redis, prefix: keys.queues(), skipWaitingForReady: true });
    this.#queues = { optimize: open('optimize'), sample: open('sample') };
    const turnsOf = (name: QueueName) =>
      new FairScheduler(redis, this.#queues[name].toKey(''), keys.turns(name));
    this.#turns = { optimize: turnsOf('optimize'), sample: turnsOf('sample') };
    // Without a listener an error of the connection would end the process; the connection itself reports it.
    for (const queue of Object.values(this.#queues)) queue.on('error', () => {});
  }

  /** Queues the record; a second call with the same id changes nothing while it waits or runs. */
  async add(name: QueueName, { id, tenant, priority }: Queueable): Promise<void> {
    await this.#queues[name].add(
      name,
      { id, tenant },
      {
        jobId: id,
        priority: DEFERRED_PRIORITY[priority],
        ...ENTRY_OPTIONS,
      },
    );
    await this.#turns[name].register(id);
  }

  /** Prefix of BullMQ's keys of a queue, with the colon. */
  prefix(name: QueueName): string {
    return this.#queues[name].toKey('');
  }

  /** To be called by the worker that has begun with it: the turn passes on. */
  async started(
    name: QueueName,
    { id, tenant = DEFAULT_TENANT }: { id: string; tenant?: string },
  ): Promise<void> {
    await this.#turns[name].started(tenant, id);
  }

  /** How much of a tenant waits, of its first tries. */
  async waitingOf(tenant: string): Promise<Record<QueueName, number>> {
    const [optimize, sample] = await Promise.all([
      this.#turns.optimize.count(tenant),
      this.#turns.sample.count(tenant),
    ]);
    return { optimize, sample };
  }

  /** Ids of what is being worked on. */
  async active(name: QueueName): Promise<string[]> {
    return this.#redis.lrange(this.#queues[name].toKey('active'), 0, -1);
  }

  /** To be called when an API starts; see `Turns.settle`. */
  async settle(): Promise<void> {
    await Promise.all(Object.values(this.#turns).map((turns) => turns.settle()));
  }

  /** Takes it out of the queue. False when it doesn't wait there (any more). */
  async remove(name: QueueName, id: string): Promise<boolean> {
    const job = await this.#queues[name].getJob(id);
    if (!job) return false;
    try {
      await job.remove();
    } catch {
      return false; // a worker has it
    }
    await this.#turns[name].removed((job.data as { tenant?: string }).tenant ?? DEFAULT_TENANT, id);
    return true;
  }

  /** Whether it waits or runs. */
  async has(name: QueueName, id: string): Promise<boolean> {
    return (await this.#queues[name].getJob(id)) !== undefined;
  }

  /** Those of `ids` that neither wait nor run. */
  async missing(name: QueueName, ids: readonly string[]): Promise<string[]> {
    const pipeline = this.#redis.pipeline();
    for (const id of ids) pipeline.exists(this.#queues[name].toKey(id));
    const found = (await pipeline.exec()) ?? [];
    for (const [error] of found) if (error) throw error;
    return ids.filter((_, i) => found[i][1] === 0);
  }

  /** Whether it waits, for a worker or for its next try. */
  async waits(name: QueueName, id: string): Promise<boolean> {
    return ['prioritized', 'waiting', 'delayed'].includes(await this.#queues[name].getJobState(id));
  }

  /** 1 for the next to be served, if nothing else comes; null when it doesn't wait. */
  async position(name: QueueName, id: string): Promise<number | null> {
    return this.#turns[name].position(id);
  }

  /** How much waits (for a worker, or for its next try) and how much is being worked on. */
  async count(name: QueueName): Promise<{ waiting: number; active: number }> {
    const { active, ...waiting } = await this.#queues[name].getJobCounts(
      'wait',
      'prioritized',
      'delayed',
      'active',
    );
    return { waiting: Object.values(waiting).reduce((sum, count) => sum + count, 0), active };
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.#queues).map((queue) => queue.close()));
  }
}
