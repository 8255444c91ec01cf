import { derivedId } from '../../contract/ids.ts';
import type { JobRecord, SampleRecord } from '../../contract/records.ts';
import { recordKey } from '../../jobs/archive.ts';
import { reopenedFields } from '../../jobs/lifecycle.ts';
import { policyFileKey } from '../../jobs/stored-files.ts';
import { type BlobStore, hasAny } from '../../storage/blobs.ts';
import type { Store } from '../../store/store.ts';
import { newestFirst } from '../newest-first.ts';
import { removalKeysOf } from './references.ts';

/** What was queued. */
export interface Requeued {
  /** Number of jobs and samples. */
  readonly queued: number;
  /** Ids of those among them that had ended without whole results. */
  readonly reopened: readonly string[];
}

/**
 * Queues the unfinished work, because a backup has no queues. Running work is queued again, and
 * pending webhook deliveries begin their round again. Work that has succeeded but whose policy or
 * images are missing begins again: the same request gives the same bytes.
 */
export async function requeueRestored(store: Store, blobs: BlobStore): Promise<Requeued> {
  let queued = 0;
  const reopened: string[] = [];
  for await (const job of newestFirst(store.jobs)) {
    if (job.status === 'succeeded' && !(await isJobWhole(store, blobs, job))) {
      await reopenJob(store, blobs, job);
      reopened.push(job.id);
    } else if (!isUnfinished(job.status)) continue;
    if (job.status === 'running') await store.jobs.change(job.id, { set: { status: 'queued' } });
    await store.queues.add('optimize', job);
    queued++;
  }
  for await (const sample of newestFirst(store.samples)) {
    // Unfinished samples of a job are made by its worker.
    if (isUnfinished(sample.status) && (await hasUnfinishedJob(store, sample.id))) continue;
    if (sample.status === 'succeeded' && !(await isSampleWhole(store, blobs, sample))) {
      await reopenSample(store, blobs, sample);
      reopened.push(sample.id);
    } else if (!isUnfinished(sample.status)) continue;
    if (sample.status === 'running') await store.samples.change(sample.id, { set: { status: 'queued' } });
    await store.queues.add('sample', sample);
    queued++;
  }
  for await (const delivery of store.webhooks.deliveries.oldestFirst()) {
    if (delivery.status === 'pending') await store.webhooks.enqueue(delivery, delivery.round);
  }
  return { queued, reopened };
}

/** Work that is being canceled is unfinished too: a worker ends it. */
const isUnfinished = (status: string) => ['queued', 'running', 'canceling'].includes(status);

/** Whether the policy and the samples of a job are there, or were deleted. */
async function isJobWhole(store: Store, blobs: BlobStore, job: JobRecord): Promise<boolean> {
  const { policyId, sampleId } = job;
  if (policyId !== null && !(await isRemoved(store, blobs, policyId))) {
    if ((await store.policies.find(policyId)) === null) return false;
    if (!(await hasAny(blobs, policyFileKey(policyId)))) return false;
  }
  if (sampleId === null || (await store.samples.find(sampleId)) !== null) return true;
  return isRemoved(store, blobs, sampleId);
}

async function isRemoved({ redis, keys }: Store, blobs: BlobStore, id: string): Promise<boolean> {
  if ((await redis.exists(keys.gone(id))) === 1) return true;
  for (const key of removalKeysOf(id)) if (await hasAny(blobs, key)) return true;
  return false;
}

/** Whether every image of a sample is there. Images are deleted with their sample only. */
async function isSampleWhole(store: Store, blobs: BlobStore, sample: SampleRecord): Promise<boolean> {
  for (const { id } of sample.images) {
    const image = await store.images.find(id);
    if (image === null || !(await hasAny(blobs, image.key))) return false;
  }
  return true;
}

async function hasUnfinishedJob(store: Store, sampleId: string): Promise<boolean> {
  const job = await store.jobs.find(derivedId('job', sampleId));
  return job !== null && isUnfinished(job.status);
}

/** Queues a job again from its start: its checkpoint was deleted when it succeeded. */
async function reopenJob(store: Store, blobs: BlobStore, job: JobRecord): Promise<void> {
  // As for a retry: if Redis is lost later, reindexing must not restore the end.
  await blobs.delete(recordKey(job.id));
  const set = { ...reopenedFields(job), policyId: null, sampleId: null, report: null };
  await store.jobs.change(job.id, { set, statuses: ['succeeded'], reopen: true });
  const sampleId = derivedId('smp', job.id);
  if (await isMissingImages(store, blobs, sampleId)) {
    // The job makes failed samples again, but leaves those that have succeeded.
    await blobs.delete(recordKey(sampleId));
    await store.samples.change(sampleId, { set: { status: 'failed' }, statuses: ['succeeded'] });
  }
}

async function isMissingImages(store: Store, blobs: BlobStore, id: string): Promise<boolean> {
  const sample = await store.samples.find(id);
  return sample?.status === 'succeeded' && !(await isSampleWhole(store, blobs, sample));
}

async function reopenSample(store: Store, blobs: BlobStore, sample: SampleRecord): Promise<void> {
  await blobs.delete(recordKey(sample.id));
  const set = { status: 'queued' as const, finishedAt: null, error: null, images: [] };
  await store.samples.change(sample.id, { set, statuses: ['succeeded'] });
}
