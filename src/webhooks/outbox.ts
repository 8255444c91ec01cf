import { eventOf, type Notice } from '../records/outbox-notice.ts';
import type { RecordHash } from '../records/record-codec.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { defineScript } from '../redis/lua-script.ts';

const leaseNotices = defineScript<string[]>(import.meta.url, './lua/lease-notices.lua');

/** Notices that `oldestEvent` looks at. */
const OLDEST_OF = 100;

/** A notice that this process dispatches. */
export interface LeasedNotice {
  readonly notice: Notice;
  /** The record when the event happened; empty when the snapshot has expired. */
  readonly snapshot: RecordHash;
  /** Removes the notice from the outbox. */
  finish(): Promise<void>;
}

/**
 * The transactional outbox: changes of records write notices into it, and any process dispatches
 * them. A notice is dispatched at least once.
 */
export class Outbox {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * Leases at most `count` notices. No other process gets them during `leaseSeconds`; those that
   * are not finished by then are leased again.
   */
  async lease(count: number, leaseSeconds: number): Promise<LeasedNotice[]> {
    const outbox = this.#keys.outbox();
    const due = await leaseNotices(this.#redis, { keys: { outbox }, args: { count, leaseSeconds } });
    return Promise.all(
      due.map(async (json) => {
        const notice = JSON.parse(json) as Notice;
        const snapshot = this.#keys.snapshot(eventOf(notice) ?? '');
        return {
          notice,
          snapshot: await this.#redis.hgetall(snapshot),
          finish: async () => {
            await this.#redis.multi().zrem(outbox, json).del(snapshot).exec();
          },
        };
      }),
    );
  }

  /**
   * When the oldest event happened whose notice is not finished, milliseconds since 1970; null: the
   * outbox is empty. Looks at the notices that are due first.
   */
  async oldestEvent(): Promise<number | null> {
    const due = await this.#redis.zrange(this.#keys.outbox(), 0, String(OLDEST_OF - 1));
    const times = due.flatMap((json) => {
      const notice = JSON.parse(json) as Notice;
      return notice.type === 'deliver' ? [] : [Date.parse(notice.at)];
    });
    return times.length === 0 ? null : Math.min(...times);
  }

  /** Number of notices that are not finished. */
  async size(): Promise<number> {
    return this.#redis.zcard(this.#keys.outbox());
  }
}
