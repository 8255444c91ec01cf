import type { BlobStore } from '../storage/blobs.ts';
import type { Store } from './store.ts';

/**
 * Deletes a policy with its samples and their images. Records go first: what is half deleted is gone for clients.
 * @param now RFC 3339
 */
export async function removePolicy(store: Store, blobs: BlobStore, id: string, now: string): Promise<void> {
  await store.policies.get(id); // 404, or 410 the second time
  const samples = await store.policies.children(id);
  await store.policies.remove(id, now);
  for (const sample of samples) {
    const images = await store.samples.children(sample);
    await store.queues.remove('sample', sample);
    await store.samples.remove(sample, now);
    for (const image of images) {
      const record = await store.images.find(image);
      await store.images.remove(image, now);
      if (record) await blobs.delete(record.key);
    }
  }
  await blobs.delete(`policies/${id}.safetensors`);
}
