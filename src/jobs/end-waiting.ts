import type { JobRecord } from '../contract/records.ts';
import { viewJob } from '../contract/views.ts';
import type { BlobStore } from '../storage/blobs.ts';
import type { Store } from '../store/store.ts';
import { archiveEnded } from './archive.ts';

/**
 * Ends a job that no worker has; its `done` event carries the final job.
 * @param now RFC 3339
 * @returns whether it was in one of `statuses` and has ended
 */
export async function endWaiting(
  store: Store,
  blobs: BlobStore,
  job: JobRecord,
  {
    status,
    statuses,
    now,
    set = {},
  }: {
    readonly status: 'canceled' | 'expired';
    readonly statuses: readonly string[];
    readonly now: string;
    readonly set?: Partial<JobRecord>;
  },
): Promise<boolean> {
  const ended = {
    ...set,
    status,
    finishedAt: now,
    checkpoint: null,
    progress: { ...job.progress, stage: 'ended' as const, secondsLeft: null },
  };
  const events = [
    { type: 'status', data: { status, stage: 'ended' } },
    { type: 'done', data: viewJob({ ...job, ...ended }, null) },
  ];
  if ((await store.jobs.change(job.id, { set: ended, events, statuses })) !== 'done') return false;
  // It has made nothing: its end may be archived late (by the sweep), but nobody may be kept from hearing of it.
  await archiveEnded(store, blobs, job.id).catch(() => {});
  return true;
}
