import type { JobRecord } from '../src/jobs/store.ts';
import type { Claim } from './claim.ts';
import type { WorkerContext } from './context.ts';

/** A job in the hands of this worker. */
export interface RunningJob {
  readonly context: WorkerContext;
  readonly claim: Claim<JobRecord>;
  /** As it was when it was taken up. */
  readonly record: JobRecord;
}
