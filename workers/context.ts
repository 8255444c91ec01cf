import type { Logger } from 'pino';
import type { LiveCatalog } from '../src/bundles/catalog.ts';
import type { JobRecord } from '../src/contract/records.ts';
import type { Engine } from '../src/engine/engine.ts';
import type { Shares } from '../src/queue/shares.ts';
import type { ChangeFeed } from '../src/redis/change-feed.ts';
import type { BlobStore } from '../src/storage/blobs.ts';
import type { Store } from '../src/store/store.ts';
import type { Tracer } from '../src/tracing/tracer.ts';
import type { EngineMeter } from './engine-meter.ts';
import type { Lease } from './lease.ts';
import type { WorkerMetrics } from './metrics/worker-metrics.ts';
import type { Recycling } from './recycling.ts';
import type { Throughput } from './throughput.ts';
import type { WorkTrace } from './work-trace.ts';

/** How this worker shares evaluations with others. */
export interface Sharing {
  readonly shares: Shares;
  /** Announces `SHARES_OPENED` and the ids of jobs whose shares changed. */
  readonly feed: ChangeFeed;
  readonly workerId: string;
  /** Workers of the same kind compute the same bits. */
  readonly kind: string;
  /** Maximum number of noises in one graph run, as configured. */
  readonly batchSize: number;
}

/** How fast a job's noises are evaluated, by all workers that take part. */
export interface JobPace {
  readonly throughput: Throughput;
  /** Number of workers that evaluated the latest noises; 0 before the first. */
  workers: number;
}

/** Everything that the processors of one worker process share. */
export interface WorkerContext {
  readonly store: Store;
  readonly blobs: BlobStore;
  readonly catalog: Pick<LiveCatalog, 'now'>;
  readonly engine: Pick<Engine, 'pipeline' | 'device'>;
  /** Announces the ids of jobs that a client cancels or pauses. */
  readonly cancelFeed: ChangeFeed;
  readonly throughput: Throughput;
  readonly metrics: WorkerMetrics;
  readonly recycling: Recycling;
  readonly sharing: Sharing;
  readonly logger: Logger;
  /** null: traces are off. */
  readonly tracer: Tracer | null;
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
  readonly pace: JobPace;
  readonly meter: EngineMeter;
  readonly trace: WorkTrace;
}
