import type { Job } from './schemas/job.ts';
import type { Policy } from './schemas/policy.ts';
import type { Image, Sample } from './schemas/sample.ts';
import type { JobWebhook } from './schemas/webhook.ts';

/** What work has used so far, over all its attempts. */
export interface WorkUsage {
  /** Images of its search and report, or of its samples. */
  readonly images: number;
  /** Milliseconds of graph runs that the engine spent on it. */
  readonly engineMilliseconds: number;
}

/**
 * A stored job: its view and the internal state of its work. Optional fields are missing in older
 * records.
 */
export type JobRecord = Omit<Job, 'object' | 'urls' | 'queuePosition' | 'webhook'> & {
  readonly tenant: string;
  /**
   * The job's own webhook, beside the endpoints of the tenant. Its secrets are an internal field of
   * the record.
   */
  readonly webhook?: JobWebhook | null;
  /** A client asked to cancel the job; its worker has to see to it. */
  readonly cancelRequested: boolean;
  /** A canceled job stores the policy that it has learned so far. */
  readonly keepPartial: boolean;
  /** The latest checkpoint in storage. */
  readonly checkpoint: {
    readonly key: string;
    readonly iteration: number;
    /** Hexadecimal hash of its bytes. */
    readonly sha256?: string;
  } | null;
  /**
   * How many workers began at the same checkpoint. A job that makes its workers crash is given up.
   */
  readonly takenAt: { readonly iteration?: number; readonly times: number } | null;
  /** How many workers ran out of memory at the same checkpoint. */
  readonly outOfMemory?: { readonly iteration?: number; readonly times: number } | null;
  /**
   * Parameters of the optimizer that the device of the first worker sets; empty once it has. Until
   * then `optimizer` holds the defaults of the CPU.
   */
  readonly deviceParameters?: readonly string[];
  /** A client asked to pause the job; its worker has to see to it. */
  readonly pauseRequested?: boolean;
  /** Time (RFC 3339) since which storage has refused what the job writes; null: storage works. */
  readonly storageAway?: string | null;
  /** Hash of the request body; present when the client chose the id. */
  readonly digest?: string;
  /** Of the request that created it, if traces are on (`tracing/traceparent.ts`). */
  readonly traceparent?: string;
  /** As of the latest checkpoint, or of the end. */
  readonly usage?: WorkUsage;
};

/** A stored batch of samples. */
export type SampleRecord = Omit<Sample, 'object' | 'urls'> & {
  readonly tenant: string;
  /** How many workers ran out of memory. */
  readonly outOfMemory?: { readonly times: number } | null;
  /** Time (RFC 3339) since which storage has refused the images; null: storage works. */
  readonly storageAway?: string | null;
  /** Of the request that created it, if traces are on. */
  readonly traceparent?: string;
  /** As of the end. */
  readonly usage?: WorkUsage;
};

/** A stored policy; its distribution is a file in storage. */
export type PolicyRecord = Omit<
  Policy,
  'object' | 'urls' | 'law' // the alias of `distribution`
> & { readonly tenant: string };

/** A stored image; its bytes are a file in storage. */
export type ImageRecord = Pick<Image, 'id' | 'width' | 'height' | 'format'> & {
  /** Key of its file. */
  readonly key: string;
  readonly createdAt: string;
  readonly tenant: string;
  /** Size of its file. */
  readonly bytes?: number;
  /** Hexadecimal hash of its bytes. */
  readonly sha256?: string;
};
