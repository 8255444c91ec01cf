import type { Limits } from './api-keys.ts';
import { Changes } from './changes.ts';
import { Keys } from './keys.ts';
import { Queues } from './queues.ts';
import { Records } from './records.ts';
import { connectRedis, type Redis } from './redis.ts';
import type { Job } from './schemas/job.ts';
import type { Policy } from './schemas/policy.ts';
import type { Image, Sample } from './schemas/sample.ts';
import type { JobWebhook } from './schemas/webhook.ts';
import { TenantRecords } from './tenant-records.ts';
import { WebhookStore } from './webhook-store.ts';

/** A job as it is kept: what clients see, and where its work stands. */
export type JobRecord = Omit<Job, 'object' | 'urls' | 'queuePosition' | 'webhook'> & {
  readonly tenant: string;
  /** Who is told of this job beside the endpoints (its secrets are hidden beside the record); absent: nobody. */
  readonly webhook?: JobWebhook | null;
  /** Asked for by a client; the worker that runs it looks at this. */
  readonly cancelRequested: boolean;
  readonly keepPartial: boolean;
  /** Where the latest checkpoint lies in storage. */
  readonly checkpoint: {
    readonly key: string;
    readonly iteration: number;
    /** Of its bytes, hexadecimal; absent: it was stored before that was kept. */
    readonly sha256?: string;
  } | null;
  /** How often workers took it up at the same checkpoint: a job that kills its workers is given up. */
  readonly takenAt: { readonly iteration?: number; readonly times: number } | null;
  /** How often workers had too little memory for it at the same checkpoint; absent: never. */
  readonly outOfMemory?: { readonly iteration?: number; readonly times: number } | null;
  /** Asked for by a client; the worker that runs it looks at this. Absent: no. */
  readonly pauseRequested?: boolean;
  /** Since when (RFC 3339) storage has not taken what the job writes; absent: it does. */
  readonly storageAway?: string | null;
  /** Hash of the body of the request that chose the id; absent: the id is ours. */
  readonly digest?: string;
};

export type SampleRecord = Omit<Sample, 'object' | 'urls'> & {
  readonly tenant: string;
  /** How often workers had too little memory for it; absent: never. */
  readonly outOfMemory?: { readonly times: number } | null;
  /** Since when (RFC 3339) storage has not taken what is drawn; absent: it does. */
  readonly storageAway?: string | null;
};
export type PolicyRecord = Omit<Policy, 'object' | 'urls'> & { readonly tenant: string };

/** An image, and where its bytes lie. */
export type ImageRecord = Pick<Image, 'id' | 'width' | 'height' | 'format'> & {
  readonly key: string;
  readonly createdAt: string;
  readonly tenant: string;
  /** Of its file; absent: it was stored before that was counted. */
  readonly bytes?: number;
  /** Of its bytes, hexadecimal; absent: it was stored before that was kept. */
  readonly sha256?: string;
};

/** All that API and workers share through Redis. */
export interface Store {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly jobs: Records<JobRecord>;
  readonly samples: Records<SampleRecord>;
  readonly policies: Records<PolicyRecord>;
  readonly images: Records<ImageRecord>;
  readonly queues: Queues;
  readonly webhooks: WebhookStore;
  readonly changes: Changes;
  close(): Promise<void>;
}

/** The store without its records, which routes get from `scopeStore` alone. */
export type SharedStore = Omit<Store, 'jobs' | 'samples' | 'policies' | 'images' | 'webhooks'> & {
  readonly webhooks: Pick<WebhookStore, 'of'>;
};

/** The store as one tenant sees it. */
export interface TenantStore extends Store {
  readonly tenant: string;
  /** What it may have at most; null: nobody counts. */
  readonly limits: Limits | null;
}

/** The store with the records of one tenant in place of everybody's. */
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
    webhooks: store.webhooks.of(tenant),
  };
}

/** Opens the store. `failFast`: requests fail at once while Redis is away (API) instead of waiting for it (worker). */
export async function openStore(
  url: string,
  prefix: string,
  options: { readonly failFast: boolean; readonly onError?: (error: Error) => void },
): Promise<Store> {
  const redis = connectRedis(url, options);
  redis.on('error', (error: Error) => options.onError?.(error));
  const keys = new Keys(prefix);
  const changes = await Changes.subscribe(redis, keys.changes());
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
