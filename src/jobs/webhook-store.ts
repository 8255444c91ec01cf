import type { Keys } from './keys.ts';
import { Outbox } from './outbox.ts';
import { Records } from './records.ts';
import type { Redis } from './redis.ts';
import type { WebhookDelivery, WebhookEndpoint } from './schemas/webhook-endpoint.ts';
import { WebhookQueue } from './webhook-queue.ts';

/** Hidden beside it: `secrets`. */
export type EndpointRecord = Omit<WebhookEndpoint, 'object'>;

/** Hidden beside it where it goes to a job's own webhook: `secrets`. */
export type DeliveryRecord = Omit<WebhookDelivery, 'object'> & {
  /** Counts from 1; every redelivery is one more. */
  readonly round: number;
};

/** A secret that signs, and until when (RFC 3339; null: without end). */
export interface SigningSecret {
  readonly secret: string;
  readonly validUntil: string | null;
}

/** Name of the hidden field with the `SigningSecret`s of an endpoint, a delivery, or a job with a `webhook`. */
export const SECRETS = 'secrets';

/** Days that a delivery, ended, and the body of its event are kept. */
export const KEPT_DAYS = 7;

/** All that is kept of webhooks. */
export class WebhookStore {
  readonly endpoints: Records<EndpointRecord>;
  readonly deliveries: Records<DeliveryRecord>;
  readonly outbox: Outbox;
  readonly queue: WebhookQueue;
  readonly #redis: Redis;
  readonly #keys: Keys;

  constructor(redis: Redis, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
    this.endpoints = new Records(redis, keys, 'whe', 'webhook endpoint');
    this.deliveries = new Records(redis, keys, 'dlv', 'webhook delivery');
    this.outbox = new Outbox(redis, keys);
    this.queue = new WebhookQueue(redis, keys);
  }

  /** Keeps what is sent of an event: written once, so that every attempt sends the same bytes. */
  async keepBody(eventId: string, body: string): Promise<void> {
    await this.#redis.set(this.#keys.webhookBody(eventId), body, 'EX', (KEPT_DAYS + 1) * 86_400, 'NX');
  }

  /** The body; null when its time is over. */
  async body(eventId: string): Promise<string | null> {
    return this.#redis.get(this.#keys.webhookBody(eventId));
  }

  async close(): Promise<void> {
    await this.queue.close();
  }
}
