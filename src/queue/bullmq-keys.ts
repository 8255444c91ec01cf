import type { Queue } from 'bullmq';
import type { PRIORITIES } from '../contract/schemas/job.ts';

/**
 * The pinned release of BullMQ whose keys and entries this file and `lua/includes/bullmq.lua` know.
 * They are not part of its interface: a test compares what is written here with what BullMQ writes.
 * Look at both when you change it.
 */
export const BULLMQ_VERSION = '6.7.0';

/** Prefix of the keys of a queue, with the colon at its end. */
export function queuePrefix(queue: Queue): string {
  return queue.toKey('');
}

/** Sorted set: ids of the entries that wait for a worker. */
export function prioritizedKey(prefix: string): string {
  return `${prefix}prioritized`;
}

/** List: ids of the entries that workers have. */
export function activeKey(prefix: string): string {
  return `${prefix}active`;
}

/** Hash: an entry, while it waits or runs. */
export function entryKey(prefix: string, id: string): string {
  return `${prefix}${id}`;
}

/**
 * Priority with which work enters BullMQ's queue. 1, before all of these, is for scheduled entries.
 */
export const DEFERRED_PRIORITY = { high: 2, normal: 3, low: 4 } as const;

/** Options of every entry. */
const COMMON_OPTIONS = {
  // Failures that a second attempt cannot mend are thrown as unrecoverable; others (storage, Redis)
  // are tried again.
  attempts: 4,
  backoff: { type: 'exponential', delay: 1000 },
  removeOnComplete: true,
  removeOnFail: true,
  stackTraceLimit: 1,
  sizeLimit: 1024,
};

/** Options of the entry of a record for `Queue.add`. */
export function entryOptions(id: string, priority: (typeof PRIORITIES)[number]) {
  return { jobId: id, priority: DEFERRED_PRIORITY[priority], ...COMMON_OPTIONS };
}

/** The same as JSON, by priority, for `enqueue.lua`, which adds the id. */
export const ENTRY_OPTIONS_JSON = Object.fromEntries(
  Object.entries(DEFERRED_PRIORITY).map(([name, priority]) => [
    name,
    JSON.stringify({ ...COMMON_OPTIONS, priority }),
  ]),
) as Record<(typeof PRIORITIES)[number], string>;
