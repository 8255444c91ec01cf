import type { ImageRecord, JobRecord, PolicyRecord, SampleRecord } from '../contract/records.ts';
import { Queues } from '../queue/queues.ts';
import { Records } from '../records/records.ts';
import { TenantRecords } from '../records/tenant-records.ts';
import { ChangeFeed } from '../redis/change-feed.ts';
import { type ConnectionOptions, connectRedis, type Redis } from '../redis/connection.ts';
import { RedisKeys } from '../redis/keys.ts';
import type { Limits } from '../tenancy/api-keys.ts';
import { WebhookStore } from '../webhooks/store.ts';

/** What API, workers and maintenance share through Redis. */
export interface Store {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly jobs: Records<JobRecord>;
  readonly samples: Records<SampleRecord>;
  readonly policies: Records<PolicyRecord>;
  readonly images: Records<ImageRecord>;
  readonly queues: Queues;
  readonly webhooks: WebhookStore;
  readonly changes: ChangeFeed;
  close(): Promise<void>;
}

/** The store without records: routes get records only for one tenant, from `scopeStore`. */
export type SharedStore = Omit<Store, 'jobs' | 'samples' | 'policies' | 'images' | 'webhooks'> & {
  readonly webhooks: Pick<WebhookStore, 'forTenant' | 'backlog'>;
};

/** The store with the records of one tenant. */
export interface TenantStore extends Store {
  readonly tenant: string;
  /** Limits of the tenant; null: nothing is counted. */
  readonly limits: Limits | null;
}

/** Restricts a store to one tenant. `key`: null without a key, and then no limits are counted. */
export function scopeStore(
  store: SharedStore,
  { tenant, key, limits }: { readonly tenant: string; readonly key: object | null; readonly limits: Limits },
): TenantStore {
  const { redis, keys } = store;
  return {
    ...store,
    tenant,
    limits: key && limits,
    jobs: new TenantRecords(redis, keys, 'job', 'job', tenant),
    samples: new TenantRecords(redis, keys, 'smp', 'sample', tenant),
    policies: new TenantRecords(redis, keys, 'pol', 'policy', tenant),
    images: new TenantRecords(redis, keys, 'img', 'image', tenant),
    webhooks: store.webhooks.forTenant(tenant),
  };
}

/**
 * Opens the store.
 * @param prefix of all keys
 * @param url as in REDIS_URL
 * @param options.failFast as `connectRedis` has it: true for an API, false for a worker
 * @param options.onError is called with errors of the connection
 * @param options.hearsChanges false: `changes` hears nothing. Redis sends each change to each
 *   process that hears them, so a process that waits for none does not listen.
 */
export async function openStore(
  url: string,
  prefix: string,
  options: ConnectionOptions & {
    readonly onError?: (error: Error) => void;
    readonly hearsChanges?: boolean;
  },
): Promise<Store> {
  const redis = connectRedis(url, options);
  redis.on('error', (error: Error) => options.onError?.(error));
  const keys = new RedisKeys(prefix);
  const { hearsChanges = true } = options;
  const changes = hearsChanges ? await ChangeFeed.subscribe(redis, keys.changes()) : ChangeFeed.silent();
  const queues = new Queues(redis, keys);
  const webhooks = WebhookStore.open(redis, keys);
  return {
    redis,
    keys,
    jobs: new Records(redis, keys, 'job', 'job'),
    samples: new Records(redis, keys, 'smp', 'sample'),
    policies: new Records(redis, keys, 'pol', 'policy'),
    images: new Records(redis, keys, 'img', 'image'),
    queues,
    webhooks,
    changes,
    async close() {
      await queues.close();
      await webhooks.close();
      await changes.close();
      redis.disconnect();
    },
  };
}
