import type { ImageRecord } from '../contract/records.ts';
import { FINAL_STATUSES } from '../contract/schemas/job.ts';
import { type BlobStore, StorageFullError } from '../storage/blobs.ts';
import type { Store } from '../store/store.ts';
import { archiveRemoval, type Removal, recordKey } from './archive.ts';

/**
 * Deletes a policy with its samples and their images. The deletion is remembered in storage first, then records go, then
 * bytes: what is half deleted is gone for clients, stays so when Redis is lost, and is finished by the next sweep.
 * @param now RFC 3339
 */
export async function removePolicy(store: Store, blobs: BlobStore, id: string, now: string): Promise<void> {
  const policy = await store.policies.get(id); // 404, or 410 the second time
  const samples = await store.policies.children(id);
  const images = await Promise.all(samples.map((sample) => store.samples.children(sample)));
  await remembering(
    blobs,
    { id, at: now, tenant: policy.tenant, ids: [...samples, ...images.flat()] },
    async () => {
      await store.policies.remove(id, now);
      for (const [i, sample] of samples.entries())
        await removeSampleRecord(store, blobs, sample, images[i], now);
      await blobs.delete(`policies/${id}.safetensors`);
      await blobs.delete(recordKey(id));
    },
  );
}

/** Deletes a batch of samples with its images. */
export async function removeSample(store: Store, blobs: BlobStore, id: string, now: string): Promise<void> {
  const sample = await store.samples.get(id);
  const images = await store.samples.children(id);
  await remembering(blobs, { id, at: now, tenant: sample.tenant, ids: images }, () =>
    removeSampleRecord(store, blobs, id, images, now),
  );
  if (sample.policyId) await store.redis.srem(store.keys.children(sample.policyId), id);
}

/**
 * Deletes a job that has ended, with its previews. Its policy and samples stay. A failed one may be tried again at the same time:
 * whoever comes first wins, and from here on it can't be tried again, also when this breaks off (the next sweep finishes it).
 * @returns false when it has not ended (any more), or is gone already
 */
export async function removeJob(store: Store, blobs: BlobStore, id: string, now: string): Promise<boolean> {
  if ((await store.jobs.change(id, { hide: { removing: now }, statuses: FINAL_STATUSES })) !== 'done')
    return false;
  const job = await store.jobs.get(id);
  const previews = await store.jobs.children(id);
  await remembering(blobs, { id, at: now, tenant: job.tenant, ids: previews }, async () => {
    const records = await findImages(store, previews);
    await store.jobs.remove(id, now);
    await removeImages(store, blobs, records, now);
    if (job.checkpoint) await blobs.delete(job.checkpoint.key);
    await blobs.delete(recordKey(id));
  });
  return true;
}

/** Remembers the deletion first; where storage is too full even for that, afterwards, for it is deletions that make room. */
async function remembering(blobs: BlobStore, removal: Removal, remove: () => Promise<void>): Promise<void> {
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

async function findImages(store: Store, ids: readonly string[]): Promise<ImageRecord[]> {
  const records = await Promise.all(ids.map((id) => store.images.find(id)));
  return records.filter((record) => record !== null);
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
