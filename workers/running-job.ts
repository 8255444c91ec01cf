import type { JobRecord } from '../src/contract/records.ts';
import type { WorkerContext } from './context.ts';
import type { Lease } from './lease.ts';

/** A job in the hands of this worker. */
export interface RunningJob {
  readonly context: WorkerContext;
  readonly lease: Lease<JobRecord>;
  /** As it was when it was taken up. */
  readonly record: JobRecord;
}
