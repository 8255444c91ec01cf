import { pino } from 'pino';
import type { BlobStore } from '../../src/storage/blobs.ts';
import type { Store } from '../../src/store/store.ts';
import type { RunningJob, WorkerContext } from '../../workers/context.ts';
import { EngineMeter } from '../../workers/engine-meter.ts';
import { Lease } from '../../workers/lease.ts';
import { Throughput } from '../../workers/throughput.ts';
import { WorkTrace } from '../../workers/work-trace.ts';

/**
 * Takes a job as a worker does, from another worker too.
 * @throws Error when the job is neither queued nor running
 */
export async function takeJob(
  { store, blobs }: { readonly store: Store; readonly blobs: BlobStore },
  id: string,
  set: { readonly attempts?: number } = {},
): Promise<RunningJob> {
  const lease = new Lease(store.jobs, id);
  const isTaken = await lease.take(['queued', 'running'], { set: { status: 'running', ...set } });
  if (!isTaken) throw new Error(`The job ${id} can't be taken.`);
  // The steps that tests call alone use neither engine nor catalog.
  const context = { store, blobs, logger: pino({ level: 'silent' }) } as unknown as WorkerContext;
  const pace = { throughput: new Throughput(), workers: 1 };
  const trace = new WorkTrace(null, 'job', undefined, {});
  return { context, lease, record: await store.jobs.get(id), pace, meter: new EngineMeter(), trace };
}
