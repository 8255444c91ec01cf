import { Changes } from './changes.ts';
import { Keys } from './keys.ts';
import { Queues } from './queues.ts';
import { Records } from './records.ts';
import { connectRedis, type Redis } from './redis.ts';
import type { Job } from './schemas/job.ts';
import type { Policy } from './schemas/policy.ts';
import type { Image, Sample } from './schemas/sample.ts';

/** A job as it is kept: what clients see, and where its work stands. */
export type JobRecord = Omit<Job, 'object' | 'urls' | 'queuePosition'> & {
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
  /** Hash of the request's body; absent: not known. */
  readonly digest?: string;
};

export type SampleRecord = Omit<Sample, 'object' | 'urls'> & {
  /** How often workers had too little memory for it; absent: never. */
  readonly outOfMemory?: { readonly times: number } | null;
  /** Since when (RFC 3339) storage has not taken what is drawn; absent: it does. */
  readonly storageAway?: string | null;
};
export type PolicyRecord = Omit<Policy, 'object' | 'urls'>;

/** An image, and where its bytes lie. */
export type ImageRecord = Pick<Image, 'id' | 'width' | 'height' | 'format'> & {
  readonly key: string;
  readonly createdAt: string;
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
  readonly changes: Changes;
  close(): Promise<void>;
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
  return {
    redis,
    keys,
    jobs: new Records(redis, keys, 'job', 'job'),
    samples: new Records(redis, keys, 'smp', 'sample'),
    policies: new Records(redis, keys, 'pol', 'policy'),
    images: new Records(redis, keys, 'img', 'image'),
    queues,
    changes,
    async close() {
      await queues.close();
      await changes.close();
      redis.disconnect();
    },
  };
}
