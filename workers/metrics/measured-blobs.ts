import type { BlobStore } from '../../src/storage/blobs.ts';
import type { WorkerMetrics } from './worker-metrics.ts';

/**
 * Decorates a store: measures each write as the stage `store`. Its subject is the folder of the
 * key, such as `images` or `checkpoints`.
 */
export function measureWrites(blobs: BlobStore, metrics: Pick<WorkerMetrics, 'time'>): BlobStore {
  return {
    put: (key, bytes, options) =>
      metrics.time('store', key.split('/')[0], () => blobs.put(key, bytes, options)),
    get: (key, options) => blobs.get(key, options),
    delete: (key) => blobs.delete(key),
    list: (prefix) => blobs.list(prefix),
    entries: (prefix) => blobs.entries(prefix),
    check: () => blobs.check(),
    removeLeftovers: (before) => blobs.removeLeftovers(before),
  };
}
