import type { ImageRecord } from '../contract/records.ts';
import { FINAL_STATUSES } from '../contract/schemas/job.ts';
import { type BlobStore, StorageFullError } from '../storage/blobs.ts';
import type { Store } from '../store/store.ts';
import { archiveRemoval, findImages, type Removal, recordKey } from './archive.ts';
import { policyFileKey } from './stored-files.ts';

/**
 * Deletes policies, samples and jobs. Storage gets a note of the deletion first, then the records
 * go, then the bytes. A deletion that is interrupted is complete for clients, survives a loss of
 * Redis, and is finished by the next sweep.
 */

/**
 * Deletes a policy with its samples and their images.
 * @param now RFC 3339
 * @throws ProblemError `not-found`, or `gone` if it was deleted before
 */
export async function removePolicy(store: Store, blobs: BlobStore, id: string, now: string): Promise<void> {
  const policy = await store.policies.get(id);
  const samples = await store.policies.children(id);
  const images = await Promise.all(samples.map((sample) => store.samples.children(sample)));
  const removal = { id, at: now, tenant: policy.tenant, ids: [...samples, ...images.flat()] };
  await removeWithNote(blobs, removal, async () => {
    await store.policies.remove(id, now);
    for (const [i, sample] of samples.entries())
      await removeSampleRecord(store, blobs, sample, images[i], now);
    await blobs.delete(policyFileKey(id));
    await blobs.delete(recordKey(id));
  });
}

/**
 * Deletes a batch of samples with its images.
 * @param now RFC 3339
 * @throws ProblemError `not-found`, or `gone` if it was deleted before
 */
export async function removeSample(store: Store, blobs: BlobStore, id: string, now: string): Promise<void> {
  const sample = await store.samples.get(id);
  const images = await store.samples.children(id);
  await removeWithNote(blobs, { id, at: now, tenant: sample.tenant, ids: images }, () =>
    removeSampleRecord(store, blobs, id, images, now),
  );
  if (sample.policyId) await store.redis.srem(store.keys.children(sample.policyId), id);
}

/**
 * Deletes a job that has ended, with its previews. Its policy and samples stay. From the first
 * change on, the job can't be retried, also if the deletion is interrupted.
 * @param now RFC 3339
 * @returns false if the job has not ended, was retried, or is deleted already
 */
export async function removeJob(store: Store, blobs: BlobStore, id: string, now: string): Promise<boolean> {
  const outcome = await store.jobs.change(id, { internal: { removing: now }, statuses: FINAL_STATUSES });
  if (outcome !== 'done') return false;
  const job = await store.jobs.get(id);
  const previews = await store.jobs.children(id);
  await removeWithNote(blobs, { id, at: now, tenant: job.tenant, ids: previews }, async () => {
    const records = await findImages(store, previews);
    await store.jobs.remove(id, now);
    await removeImages(store, blobs, records, now);
    if (job.checkpoint) await blobs.delete(job.checkpoint.key);
    await blobs.delete(recordKey(id));
  });
  return true;
}

/**
 * Notes the deletion first, or afterwards if storage is full: the deletion makes room for the note.
 */
async function removeWithNote(blobs: BlobStore, removal: Removal, remove: () => Promise<void>) {
  let isFull = false;
  await archiveRemoval(blobs, removal).catch((error: unknown) => {
    if (!(error instanceof StorageFullError)) throw error;
    isFull = true;
  });
  await remove();
  if (isFull) await archiveRemoval(blobs, removal);
}

async function removeSampleRecord(
  store: Store,
  blobs: BlobStore,
  id: string,
  images: readonly string[],
  now: string,
): Promise<void> {
  const records = await findImages(store, images);
  await store.queues.remove('sample', id);
  await store.samples.remove(id, now);
  await removeImages(store, blobs, records, now);
  await blobs.delete(recordKey(id));
}

async function removeImages(
  store: Store,
  blobs: BlobStore,
  records: readonly ImageRecord[],
  now: string,
): Promise<void> {
  for (const { id, key } of records) {
    await store.images.remove(id, now);
    await blobs.delete(key);
  }
}
