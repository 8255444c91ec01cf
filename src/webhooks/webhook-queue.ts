import { setTimeout } from 'node:timers/promises';
import { Queue } from 'bullmq';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';

/** Deliveries that wait for their (next) attempt; apart from the work that wants a model and counts for scaling. */
export const WEBHOOK_QUEUE = 'webhooks';
/** Attempts of one round; with `pauseBefore` (src/webhooks/retry-delays.ts) they take about a day. */
export const MAX_ATTEMPTS = 12;

/** The last of BullMQ's priorities. */
const LAST = 2 ** 21;

/** A delivery in the queue. */
export interface QueuedDelivery {
  readonly id: string;
}

/** The queue of deliveries. */
export class WebhookQueue {
  readonly #queue: Queue<QueuedDelivery>;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#queue = new Queue(WEBHOOK_QUEUE, {
      connection: redis,
      prefix: keys.queues(),
      skipWaitingForReady: true,
    });
    // Without a listener an error of the connection would end the process; the connection itself reports it.
    this.#queue.on('error', () => {});
  }

  /**
   * Queues a round of attempts; a second call for the same round changes nothing while it lasts.
   * @param place which of its tenant's deliveries that wait it is, from 1: all tenants' first ones go before anybody's second
   */
  async add(id: string, round: number, place: number, attempts = MAX_ATTEMPTS): Promise<void> {
    await this.#queue.add(
      'deliver',
      { id },
      {
        jobId: `${id}.${round}`,
        priority: Math.min(place, LAST),
        attempts,
        backoff: { type: 'custom' },
        removeOnComplete: true,
        removeOnFail: true,
        stackTraceLimit: 1,
        sizeLimit: 1024,
      },
    );
  }

  /** Makes the next attempt of a round due now. An attempt that is just being made is waited for, half a second at most. */
  async hurry(id: string, round: number): Promise<void> {
    for (let looks = 0; looks < 10; looks++) {
      const job = await this.#queue.getJob(`${id}.${round}`);
      if (!job) return;
      // It may become due between the look and this.
      if (await job.isDelayed()) return job.promote().catch(() => {});
      if (!(await job.isActive())) return;
      await setTimeout(50);
    }
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}
