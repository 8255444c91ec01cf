import type { Logger } from 'pino';
import type { LiveCatalog } from '../src/bundles/catalog.ts';
import type { JobRecord } from '../src/contract/records.ts';
import type { Engine } from '../src/engine/engine.ts';
import type { ChangeFeed } from '../src/redis/change-feed.ts';
import type { BlobStore } from '../src/storage/blobs.ts';
import type { Store } from '../src/store/store.ts';
import type { Lease } from './lease.ts';
import type { Recycling } from './recycling.ts';
import type { Throughput } from './throughput.ts';

/** Everything that the processors of one worker process share. */
export interface WorkerContext {
  readonly store: Store;
  readonly blobs: BlobStore;
  readonly catalog: Pick<LiveCatalog, 'now'>;
  readonly engine: Engine;
  /** Announces the ids of jobs that a client cancels or pauses. */
  readonly cancelFeed: ChangeFeed;
  readonly throughput: Throughput;
  readonly recycling: Recycling;
  readonly logger: Logger;
  /** Seconds that a job may search while others wait; 0: without end. */
  readonly sliceSeconds: number;
  /** Aborted when the worker has to give its work back and end. */
  readonly shutdown: AbortSignal;
}

/** A job that this worker has taken. */
export interface RunningJob {
  readonly context: WorkerContext;
  readonly lease: Lease<JobRecord>;
  /** The record as it was when the worker took the job. */
  readonly record: JobRecord;
}
