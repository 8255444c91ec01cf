import type { WebhookDelivery, WebhookEndpoint } from '../contract/schemas/webhook-endpoint.ts';
import { Records } from '../records/records.ts';
import { TenantRecords } from '../records/tenant-records.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { Outbox } from './outbox.ts';
import { WebhookQueue } from './queue.ts';

/** A webhook endpoint in Redis. Its internal field `SECRETS_FIELD` holds its secrets. */
export type EndpointRecord = Omit<WebhookEndpoint, 'object'> & {
  /** The tenant whose events it receives. */
  readonly tenant: string;
};

/**
 * A delivery in Redis: one event for one receiver. The delivery to a job's own webhook holds its
 * secrets in the internal field `SECRETS_FIELD`.
 */
export type DeliveryRecord = Omit<WebhookDelivery, 'object'> & {
  /** The tenant of the job or sample. */
  readonly tenant: string;
  /** Round of attempts, from 1. Every redelivery begins a new round. */
  readonly round: number;
};

/** A secret that signs deliveries. */
export interface SigningSecret {
  readonly secret: string;
  /** RFC 3339; null for no end. */
  readonly validUntil: string | null;
}

/**
 * Name of the internal field with the `SigningSecret`s of an endpoint, of a delivery, or of a job
 * with a `webhook`.
 */
export const SECRETS_FIELD = 'secrets';

/** Days for which ended deliveries, and the bodies of their events, are stored. */
export const RETENTION_DAYS = 7;

/** How much the webhooks of a service lag behind. */
export interface WebhookBacklog {
  /** Notices in the outbox. */
  readonly notices: number;
  /** When the oldest of their events happened, milliseconds since 1970; null: there is none. */
  readonly oldestEvent: number | null;
  /** Rounds of attempts that are not over. */
  readonly deliveries: number;
}

interface StoreParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly endpoints: Records<EndpointRecord>;
  readonly deliveries: Records<DeliveryRecord>;
  readonly outbox: Outbox;
  readonly queue: WebhookQueue;
}

/** Endpoints, deliveries, outbox and queue of webhooks: of all tenants, or of one (`forTenant`). */
export class WebhookStore {
  readonly endpoints: Records<EndpointRecord>;
  readonly deliveries: Records<DeliveryRecord>;
  readonly outbox: Outbox;
  readonly queue: WebhookQueue;
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  private constructor({ redis, keys, endpoints, deliveries, outbox, queue }: StoreParts) {
    this.#redis = redis;
    this.#keys = keys;
    this.endpoints = endpoints;
    this.deliveries = deliveries;
    this.outbox = outbox;
    this.queue = queue;
  }

  /** Opens the store of all tenants. */
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

  /** The store restricted to the endpoints and deliveries of one tenant. It must not be closed. */
  forTenant(tenant: string): WebhookStore {
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

  /**
   * Stores the body of an event. It is written once, so that every attempt sends the same bytes.
   */
  async storeBody(eventId: string, body: string): Promise<void> {
    await this.#redis.set(this.#keys.webhookBody(eventId), body, 'EX', (RETENTION_DAYS + 1) * 86_400, 'NX');
  }

  /** Deletes the body of an event, whose deliveries were removed. */
  async removeBody(eventId: string): Promise<void> {
    await this.#redis.del(this.#keys.webhookBody(eventId));
  }

  /** Reads the body of an event; null once it has expired. */
  async body(eventId: string): Promise<string | null> {
    return this.#redis.get(this.#keys.webhookBody(eventId));
  }

  /**
   * Writes a delivery. An existing one is not changed.
   * @param secrets of a job's own webhook; undefined for an endpoint, which has its secrets itself
   */
  async addDelivery(record: DeliveryRecord, secrets: readonly SigningSecret[] | undefined): Promise<void> {
    await this.#redis.sadd(this.#keys.webhookTenants(), record.tenant);
    await this.deliveries.create(record, {
      onlyNew: true,
      internal: secrets ? { [SECRETS_FIELD]: secrets } : {},
    });
  }

  /**
   * Queues a round of attempts, behind the deliveries of tenants with fewer waiting ones.
   * @param attempts attempts of the round; undefined for `MAX_ATTEMPTS`
   */
  async enqueue(
    { id, tenant }: Pick<DeliveryRecord, 'id' | 'tenant'>,
    round: number,
    attempts?: number,
  ): Promise<void> {
    const waiting = this.#keys.webhookWaiting(tenant);
    await this.#redis.sadd(waiting, id);
    await this.queue.add(id, round, await this.#redis.scard(waiting), attempts);
  }

  /** Iterates over batches of ids of the waiting deliveries of a tenant. */
  async *waiting(tenant: string): AsyncGenerator<string[]> {
    for (let cursor = '0'; ; ) {
      const [next, ids] = await this.#redis.sscan(this.#keys.webhookWaiting(tenant), cursor, 'COUNT', 100);
      yield ids;
      cursor = next;
      if (cursor === '0') return;
    }
  }

  /** Removes a delivery from the waiting ones of its tenant. */
  async markSettled({ id, tenant }: Pick<DeliveryRecord, 'id' | 'tenant'>): Promise<void> {
    await this.#redis.srem(this.#keys.webhookWaiting(tenant), id);
  }

  /** Lists the tenants that have, or had, deliveries. */
  async tenants(): Promise<string[]> {
    return this.#redis.smembers(this.#keys.webhookTenants());
  }

  /** What waits, of all tenants. */
  async backlog(): Promise<WebhookBacklog> {
    const [notices, oldestEvent, deliveries] = await Promise.all([
      this.outbox.size(),
      this.outbox.oldestEvent(),
      this.queue.size(),
    ]);
    return { notices, oldestEvent, deliveries };
  }

  /** Closes the queue. */
  async close(): Promise<void> {
    await this.queue.close();
  }
}
