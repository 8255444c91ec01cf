import type { IdKind } from '../contract/ids.ts';

/**
 * Keys of the fair scheduler of one queue; `queue/lua/includes/fair-scheduling.lua` says what they
 * hold.
 */
export interface SchedulerKeys {
  readonly scheduled: string;
  readonly served: string;
  readonly tenants: string;
  readonly clock: string;
}

/**
 * Names of all keys in Redis, which share one prefix. Redis holds records, queues and counters.
 * What is large (policies, images, checkpoints) is in storage.
 *
 * The names are a stored format: another release has to find what this one wrote. Where a method
 * has another name than its key, the key has the earlier word ("stored name").
 */
export class RedisKeys {
  readonly prefix: string;

  constructor(prefix: string) {
    this.prefix = prefix;
  }

  // Records

  /** Hash: a record (`records/record-codec.ts`). */
  record(id: string): string {
    return `${this.prefix}:record:${id}`;
  }
  /** Sorted set, all scores 0: ids of a kind, which sort by time; of all tenants or of one. */
  index(kind: IdKind, tenant?: string): string {
    return tenant === undefined
      ? `${this.prefix}:index:${kind}`
      : `${this.prefix}:index:${kind}:of:${tenant}`;
  }
  /** Set: ids of samples and images that are deleted with a policy, a job or a sample. */
  children(id: string): string {
    return `${this.prefix}:children:${id}`;
  }
  /** Stream: events of a job, each with the fields `type` and `data` (JSON). */
  events(id: string): string {
    return `${this.prefix}:events:${id}`;
  }
  /**
   * List: one "iteration,reward[,term,term...]" for each noise that the search of a job evaluated,
   * in order.
   */
  rewards(id: string): string {
    return `${this.prefix}:rewards:${id}`;
  }
  /** String: "time tenant" of a deletion. Requests for the id get 410 instead of 404. */
  gone(id: string): string {
    return `${this.prefix}:gone:${id}`;
  }
  /** Sorted set: deadlines of jobs by id, milliseconds since 1970. */
  deadlines(): string {
    return `${this.prefix}:deadlines`;
  }
  /** Channel: ids of records that changed, and `OUTBOX_CHANGED`. */
  changes(): string {
    return `${this.prefix}:changes`;
  }
  /** Channel: ids of jobs that their workers have to cancel or pause. */
  cancels(): string {
    return `${this.prefix}:cancels`;
  }
  /**
   * Hash: the request that first used an `Idempotency-Key`, and its answer
   * (`tenancy/lua/begin-idempotent.lua`). String in release 0.1: id and body digest as JSON.
   */
  idempotency(hash: string): string {
    return `${this.prefix}:idempotency:${hash}`;
  }

  // Queues

  /** Prefix of the keys of BullMQ (`queue/bullmq-keys.ts`). */
  queuePrefix(): string {
    return `${this.prefix}:queue`;
  }
  /**
   * Sorted set: ids of work that may be missing in its queue, by the time (seconds) at which it was
   * enqueued.
   */
  unqueued(): string {
    return `${this.prefix}:unqueued`;
  }
  /**
   * Hashes, a sorted set and a counter of the fair scheduler of a queue. Stored names: `turns`,
   * `head`.
   */
  scheduler(queue: string): SchedulerKeys {
    const prefix = `${this.prefix}:turns:${queue}:`;
    return {
      scheduled: `${prefix}head`,
      served: `${prefix}served`,
      tenants: `${prefix}tenants`,
      clock: `${prefix}clock`,
    };
  }
  /** Set: entries that wait until their tenant runs fewer; the fair scheduler writes it. */
  held(queue: string): string {
    return `${this.waitingPrefix(queue)}:held`;
  }
  /** String that expires: the entry of a queue that makes room for others. */
  yielding(queue: string): string {
    return `${this.prefix}:turns:${queue}:yielding`;
  }
  /**
   * Sorted set: entries of a tenant that wait in a queue, by the score that defers them. Stored
   * name: `turns`.
   */
  waiting(queue: string, tenant: string): string {
    return `${this.waitingPrefix(queue)}${tenant}`;
  }
  /** `waiting` of a queue without the tenant, for scripts that find the tenant in an entry. */
  waitingPrefix(queue: string): string {
    return `${this.prefix}:turns:${queue}:waiting:`;
  }
  /**
   * Before the name of a model; sorted set: entries for it that wait in a queue, by the time
   * (milliseconds) at which they were enqueued.
   */
  modelsPrefix(queue: string): string {
    return `${this.prefix}:turns:${queue}:models:`;
  }

  // Shares of evaluations

  /** Hash that expires: an evaluation whose shares workers may take (`queue/shares.ts`). */
  shares(jobId: string): string {
    return `${this.sharesPrefix()}${jobId}`;
  }
  /** `shares` without the job, for scripts that choose one. */
  sharesPrefix(): string {
    return `${this.prefix}:shares:`;
  }
  /** Sorted set that expires: jobs with such an evaluation, by the time at which one was taken. */
  openShares(): string {
    return `${this.prefix}:shares`;
  }
  /** Channel: ids of jobs whose shares changed, and `SHARES_OPENED`. */
  shareMessages(): string {
    return `${this.prefix}:share-messages`;
  }

  // Tenants and limits

  /** Hash: API keys as JSON, by the SHA-256 of their secret. */
  apiKeys(): string {
    return `${this.prefix}:apikeys`;
  }
  /** Hash: time of the last use of an API key, by its id. */
  apiKeysUsed(): string {
    return `${this.prefix}:apikeys:used`;
  }
  /** Prefix of the request counters of the rate limit. */
  requestCountPrefix(): string {
    return `${this.prefix}:requests:`;
  }
  /** Hash: bytes of files and of new records of work, by tenant. */
  storedBytes(): string {
    return `${this.prefix}:bytes`;
  }
  /**
   * Hash that expires: what tenants used on one day (UTC, "2026-01-31"), by "TENANT NAME"
   * (`records/usage.ts`).
   */
  usage(day: string): string {
    return `${this.prefix}:usage:${day}`;
  }
  /** Counter: images that a tenant asked for on one day (UTC, "2026-01-31"). */
  imagesAsked(tenant: string, day: string): string {
    return `${this.prefix}:images:${day}:${tenant}`;
  }

  // Workers and maintenance

  /** Hash: number of jobs and samples that ended, by "KIND.STATUS", as "job.succeeded". */
  ended(): string {
    return `${this.prefix}:ended`;
  }

  /** String that expires: a live worker as JSON. */
  worker(id: string): string {
    return `${this.prefix}:worker:${id}`;
  }
  /** Set: ids of workers, of which some may be dead. */
  workers(): string {
    return `${this.prefix}:workers`;
  }
  /** String: the lock of the sweep (`withLock`). */
  sweepLock(): string {
    return `${this.prefix}:sweep`;
  }
  /** String that expires: while it exists, no sweep starts by itself. Stored name: `swept`. */
  sweepPause(): string {
    return `${this.prefix}:swept`;
  }

  // Webhooks

  /**
   * Sorted set: notices as JSON, by the time (seconds) from which they may be leased
   * (`webhooks/outbox.ts`).
   */
  outbox(): string {
    return `${this.prefix}:outbox`;
  }
  /** Hash that expires: a copy of a record at the time of an event. */
  snapshot(eventId: string): string {
    return `${this.prefix}:snapshot:${eventId}`;
  }
  /** Set: tenants that have, or had, webhook deliveries. */
  webhookTenants(): string {
    return `${this.prefix}:webhook-tenants`;
  }
  /** Set: ids of the deliveries of a tenant that wait for an attempt. */
  webhookWaiting(tenant: string): string {
    return `${this.prefix}:webhook-waiting:${tenant}`;
  }
  /** String that expires: the body of all deliveries of an event. */
  webhookBody(eventId: string): string {
    return `${this.prefix}:webhook-body:${eventId}`;
  }
}
