import type { IdKind } from '../contract/ids.ts';

/** The keys in Redis, all under one prefix. What is large (policies, images, checkpoints) is in storage, never here. */
export class RedisKeys {
  readonly prefix: string;

  constructor(prefix: string) {
    this.prefix = prefix;
  }

  /** Hash: one JSON value a field. */
  record(id: string): string {
    return `${this.prefix}:record:${id}`;
  }
  /** Sorted set of the ids of a kind, in the order of time: everybody's, or one tenant's. */
  index(kind: IdKind, tenant?: string): string {
    return tenant === undefined
      ? `${this.prefix}:index:${kind}`
      : `${this.prefix}:index:${kind}:of:${tenant}`;
  }
  /** Set of what was made from a policy or for a job and goes with it: sample and image ids. */
  children(id: string): string {
    return `${this.prefix}:children:${id}`;
  }
  /** Stream of a job's events. */
  events(id: string): string {
    return `${this.prefix}:events:${id}`;
  }
  /** List: "iteration,reward" of every draw of a job's search. */
  rewards(id: string): string {
    return `${this.prefix}:rewards:${id}`;
  }
  /** Remembers a deleted thing: 410, not 404. */
  gone(id: string): string {
    return `${this.prefix}:gone:${id}`;
  }
  /** Lock of who sweeps. */
  sweep(): string {
    return `${this.prefix}:sweep`;
  }
  /** There while it is too early for another sweep. */
  swept(): string {
    return `${this.prefix}:swept`;
  }
  /** Sorted set: accepted work that was not yet seen in its queue, by the time (seconds) from which on it should be there. */
  unqueued(): string {
    return `${this.prefix}:unqueued`;
  }
  /** Sorted set: jobs by their deadline, milliseconds since 1970. */
  deadlines(): string {
    return `${this.prefix}:deadlines`;
  }
  idempotency(hash: string): string {
    return `${this.prefix}:idempotency:${hash}`;
  }
  /** Hash: API keys by the SHA-256 of what clients send. */
  apiKeys(): string {
    return `${this.prefix}:apikeys`;
  }
  /** Hash: when a key was last used, by its id. */
  apiKeysUsed(): string {
    return `${this.prefix}:apikeys:used`;
  }
  /** Prefix of the counters of requests by key. */
  requests(): string {
    return `${this.prefix}:requests:`;
  }
  /** Hash: bytes that each tenant has in storage, by its name. */
  storedBytes(): string {
    return `${this.prefix}:bytes`;
  }
  /** Counter: images that a tenant asked for on a day (UTC, 2026-01-31). */
  imagesAsked(tenant: string, day: string): string {
    return `${this.prefix}:images:${day}:${tenant}`;
  }
  /** Prefix of what keeps whose turn it is in a queue; see `turns.ts`. */
  turns(queue: string): string {
    return `${this.prefix}:turns:${queue}:`;
  }
  /** Sorted set: what a tenant has waiting in a queue; see `turns.ts`. */
  waiting(queue: string, tenant: string): string {
    return `${this.turns(queue)}waiting:${tenant}`;
  }
  worker(id: string): string {
    return `${this.prefix}:worker:${id}`;
  }
  workers(): string {
    return `${this.prefix}:workers`;
  }
  /** Channel: ids of records that changed. */
  changes(): string {
    return `${this.prefix}:changes`;
  }
  /** Channel: ids of jobs to be canceled. */
  cancels(): string {
    return `${this.prefix}:cancels`;
  }
  /** Sorted set: what happened and has not been made into deliveries of webhooks yet, by the time from which it may be taken up. */
  outbox(): string {
    return `${this.prefix}:outbox`;
  }
  /** Hash: a record as it was when an event happened that is still to be told. */
  snapshot(eventId: string): string {
    return `${this.prefix}:snapshot:${eventId}`;
  }
  /** Set: tenants that have, or had, deliveries of webhooks. */
  webhookTenants(): string {
    return `${this.prefix}:webhook-tenants`;
  }
  /** Set: deliveries of a tenant that wait for an attempt. */
  webhookWaiting(tenant: string): string {
    return `${this.prefix}:webhook-waiting:${tenant}`;
  }
  /** The body that tells of an event, the same for everybody who is told. */
  webhookBody(eventId: string): string {
    return `${this.prefix}:webhook-body:${eventId}`;
  }
  /** Prefix of BullMQ's own keys. */
  queues(): string {
    return `${this.prefix}:queue`;
  }
}
