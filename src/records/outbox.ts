import { type IdKind, newId } from '../contract/ids.ts';
import type { WebhookEventType } from '../contract/schemas/webhook.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { defineScript } from '../redis/lua-script.ts';

/** Something that has to be done after a change, whoever crashes: it is written in the same change. */
export type Notice =
  /** Tell those who asked for it. `at` is RFC 3339; `id` is that of the job or the sample. */
  | { readonly type: WebhookEventType; readonly event: string; readonly id: string; readonly at: string }
  /** Queue a delivery (once more). */
  | { readonly type: 'deliver'; readonly id: string; readonly round: number };

/** What the channel of changes says, instead of a record's id, when something was put into the outbox. */
export const OUTBOX_CHANGED = 'outbox';

/** Statuses that clients are told of, by what has them. */
const NEWS: { readonly [kind: string]: { readonly noun: string; readonly statuses: readonly string[] } } = {
  job: { noun: 'job', statuses: ['succeeded', 'failed', 'canceled', 'expired', 'paused'] },
  smp: { noun: 'sample', statuses: ['succeeded', 'failed'] },
};

/** What is to be told when a record of this kind comes into this status; null: nothing. */
export function noticeOf(kind: IdKind, id: string, status: string | undefined): Notice | null {
  const news = NEWS[kind];
  if (status === undefined || !news?.statuses.includes(status)) return null;
  const type = `${news.noun}.${status}` as WebhookEventType;
  return { type, event: newId('evt'), id, at: new Date().toISOString() };
}

/** The event that a notice is to tell; null: none. */
export function eventOf(notice: Notice): string | null {
  return notice.type === 'deliver' ? null : notice.event;
}

/** How long a record is kept as it was at an event that nobody tells; later the event is told with what the record has become. */
export const SNAPSHOT_SECONDS = 8 * 86_400;

/** Takes what is due, and puts it off: it comes again unless it is finished. The clock is that of Redis. */
const LEASE = `
local now = tonumber(redis.call('TIME')[1])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, tonumber(ARGV[1]))
for _, notice in ipairs(due) do redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), notice) end
return due
`;

const lease = defineScript<string[]>('lease', LEASE, 1);

/** A notice that was taken up. */
export interface LeasedNotice {
  readonly notice: Notice;
  /** Fields of its record, hidden ones too, as they were when it happened; none: that is not known. */
  readonly fields: Record<string, string>;
  /** It is done: it does not come again. */
  finish(): Promise<void>;
}

/** What happened and has not been seen to yet. Written by `Records.change`, emptied by whoever is alive. */
export class Outbox {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
    this.#key = keys.outbox();
  }

  /** Takes up at most `count` notices, for itself alone for so many seconds: what is not finished then is taken up again. */
  async take(count: number, seconds: number): Promise<LeasedNotice[]> {
    const due = await lease(this.#redis, this.#key, count, seconds);
    return Promise.all(
      due.map(async (text) => {
        const notice = JSON.parse(text) as Notice;
        const snapshot = this.#keys.snapshot(eventOf(notice) ?? '');
        return {
          notice,
          fields: await this.#redis.hgetall(snapshot),
          finish: async () => {
            await this.#redis.multi().zrem(this.#key, text).del(snapshot).exec();
          },
        };
      }),
    );
  }

  /** How many wait or are being seen to. */
  async size(): Promise<number> {
    return this.#redis.zcard(this.#key);
  }
}
