import type { Job } from './schemas/job.ts';
import type { Policy } from './schemas/policy.ts';
import type { Image, Sample } from './schemas/sample.ts';
import type { JobWebhook } from './schemas/webhook.ts';

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
export type PolicyRecord = Omit<Policy, 'object' | 'urls' | 'law'> & { readonly tenant: string };

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
