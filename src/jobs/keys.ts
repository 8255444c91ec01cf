import type { IdKind } from './ids.ts';

/** The keys in Redis, all under one prefix. What is large (policies, images, checkpoints) is in storage, never here. */
export class Keys {
  readonly prefix: string;

  constructor(prefix: string) {
    this.prefix = prefix;
  }

  /** Hash: one JSON value a field. */
  record(id: string): string {
    return `${this.prefix}:record:${id}`;
  }
  /** Sorted set of the ids of a kind, in the order of time. */
  index(kind: IdKind): string {
    return `${this.prefix}:index:${kind}`;
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
  /** Prefix of BullMQ's own keys. */
  queues(): string {
    return `${this.prefix}:queue`;
  }
}
