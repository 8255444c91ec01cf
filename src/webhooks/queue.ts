import { setTimeout } from 'node:timers/promises';
import { Queue } from 'bullmq';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { MAX_ATTEMPTS } from './retry-schedule.ts';

/**
 * Name of the queue of deliveries. It is not a queue of workers, so it does not count for their
 * scaling.
 */
export const WEBHOOK_QUEUE = 'webhooks';

/** The last of BullMQ's priorities. */
const LAST_PRIORITY = 2 ** 21;
/** How often, and in which interval, `expedite` checks whether an attempt under way has ended. */
const EXPEDITE_CHECKS = 10;
const EXPEDITE_INTERVAL_MS = 50;

/** An entry of the queue. */
export interface QueuedDelivery {
  /** Id of the delivery. */
  readonly id: string;
}

/**
 * The BullMQ queue of deliveries that wait for their next attempt. One entry is one round of
 * attempts.
 */
export class WebhookQueue {
  readonly #queue: Queue<QueuedDelivery>;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#queue = new Queue(WEBHOOK_QUEUE, {
      connection: redis,
      prefix: keys.queuePrefix(),
      skipWaitingForReady: true,
    });
    // Without a listener, an error of the connection would end the process. The connection logs it.
    this.#queue.on('error', () => {});
  }

  /**
   * Queues a round of attempts. A second call for a round that is still queued changes nothing.
   * @param position position among the waiting deliveries of the tenant, from 1. It is the
   *   priority, so the first deliveries of all tenants come before the second of any.
   */
  async add(id: string, round: number, position: number, attempts = MAX_ATTEMPTS): Promise<void> {
    await this.#queue.add(
      'deliver',
      { id },
      {
        jobId: `${id}.${round}`,
        priority: Math.min(position, LAST_PRIORITY),
        attempts,
        backoff: { type: 'custom' },
        removeOnComplete: true,
        removeOnFail: true,
        stackTraceLimit: 1,
        sizeLimit: 1024,
      },
    );
  }

  /**
   * Makes the next attempt of a round due now. Waits at most half a second for an attempt under
   * way.
   * @returns false when the round is not in the queue
   */
  async expedite(id: string, round: number): Promise<boolean> {
    for (let check = 0; check < EXPEDITE_CHECKS; check++) {
      const job = await this.#queue.getJob(`${id}.${round}`);
      if (!job) return false;
      // It may become due between the check and the promotion, which then fails.
      if (await job.isDelayed()) {
        await job.promote().catch(() => {});
        return true;
      }
      if (!(await job.isActive())) return true;
      await setTimeout(EXPEDITE_INTERVAL_MS);
    }
    return true;
  }

  /** Whether a round is in the queue, or an attempt of it is under way. */
  async has(id: string, round: number): Promise<boolean> {
    return (await this.#queue.getJob(`${id}.${round}`)) !== undefined;
  }

  /** Number of rounds of attempts that wait or are under way. */
  async size(): Promise<number> {
    const counts = await this.#queue.getJobCounts('wait', 'prioritized', 'delayed', 'active');
    return Object.values(counts).reduce((sum, count) => sum + count, 0);
  }

  /** Closes the queue. The connection stays open. */
  async close(): Promise<void> {
    await this.#queue.close();
  }
}
