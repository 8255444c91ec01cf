import type { WebhookDelivery, WebhookEndpoint } from '../contract/schemas/webhook-endpoint.ts';
import { Outbox } from '../records/outbox.ts';
import { Records } from '../records/records.ts';
import { TenantRecords } from '../records/tenant-records.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { WebhookQueue } from './webhook-queue.ts';

/** Hidden beside it: `secrets`. */
export type EndpointRecord = Omit<WebhookEndpoint, 'object'> & {
  /** Whose jobs and samples it is told of. */
  readonly tenant: string;
};

/** Hidden beside it where it goes to a job's own webhook: `secrets`. */
export type DeliveryRecord = Omit<WebhookDelivery, 'object'> & {
  /** Whose job or sample it is about. */
  readonly tenant: string;
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

interface Parts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly endpoints: Records<EndpointRecord>;
  readonly deliveries: Records<DeliveryRecord>;
  readonly outbox: Outbox;
  readonly queue: WebhookQueue;
}

/** All that is kept of webhooks: everybody's, or (`of`) one tenant's. */
export class WebhookStore {
  readonly endpoints: Records<EndpointRecord>;
  readonly deliveries: Records<DeliveryRecord>;
  readonly outbox: Outbox;
  readonly queue: WebhookQueue;
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  private constructor({ redis, keys, endpoints, deliveries, outbox, queue }: Parts) {
    this.#redis = redis;
    this.#keys = keys;
    this.endpoints = endpoints;
    this.deliveries = deliveries;
    this.outbox = outbox;
    this.queue = queue;
  }

  static open(redis: Redis, keys: RedisKeys): WebhookStore {
    return new WebhookStore({
      redis,
      keys,
      endpoints: new Records(redis, keys, 'whe', 'webhook endpoint'),
      deliveries: new Records(redis, keys, 'dlv', 'webhook delivery'),
      outbox: new Outbox(redis, keys),
      queue: new WebhookQueue(redis, keys),
    });
  }

  /** The same with the endpoints and deliveries of one tenant in place of everybody's; it is not to be closed. */
  of(tenant: string): WebhookStore {
    const redis = this.#redis;
    const keys = this.#keys;
    return new WebhookStore({
      redis,
      keys,
      endpoints: new TenantRecords(redis, keys, 'whe', 'webhook endpoint', tenant),
      deliveries: new TenantRecords(redis, keys, 'dlv', 'webhook delivery', tenant),
      outbox: this.outbox,
      queue: this.queue,
    });
  }

  /** Keeps what is sent of an event: written once, so that every attempt sends the same bytes. */
  async keepBody(eventId: string, body: string): Promise<void> {
    await this.#redis.set(this.#keys.webhookBody(eventId), body, 'EX', (KEPT_DAYS + 1) * 86_400, 'NX');
  }

  /** The body; null when its time is over. */
  async body(eventId: string): Promise<string | null> {
    return this.#redis.get(this.#keys.webhookBody(eventId));
  }

  /** Writes a delivery; one that is there already stays as it is. */
  async addDelivery(record: DeliveryRecord, secrets: readonly SigningSecret[] | undefined): Promise<void> {
    await this.#redis.sadd(this.#keys.webhookTenants(), record.tenant);
    await this.deliveries.create(record, { onlyNew: true, hide: secrets ? { [SECRETS]: secrets } : {} });
  }

  /** Queues a round of attempts. Who has much waiting already goes behind those who have little. */
  async queueUp(
    { id, tenant }: Pick<DeliveryRecord, 'id' | 'tenant'>,
    round: number,
    attempts?: number,
  ): Promise<void> {
    const waiting = this.#keys.webhookWaiting(tenant);
    await this.#redis.sadd(waiting, id);
    await this.queue.add(id, round, await this.#redis.scard(waiting), attempts);
  }

  /** It does not wait any more. */
  async settled({ id, tenant }: Pick<DeliveryRecord, 'id' | 'tenant'>): Promise<void> {
    await this.#redis.srem(this.#keys.webhookWaiting(tenant), id);
  }

  /** Tenants that have, or had, deliveries. */
  async tenants(): Promise<string[]> {
    return this.#redis.smembers(this.#keys.webhookTenants());
  }

  async close(): Promise<void> {
    await this.queue.close();
  }
}
