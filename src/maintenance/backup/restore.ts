import type { BlobStore } from '../../storage/blobs.ts';
import { KEYS_MARKER } from '../../storage/keys-marker.ts';
import type { Store } from '../../store/store.ts';
import { listWorkers } from '../../store/worker-registry.ts';
import { forEachInParallel } from '../parallel.ts';
import { isRedisEmpty } from '../sweep/orphans.ts';
import { BLOB_PREFIX, incomplete, RestoreError, readContents, readPiece } from './contents.ts';
import { indexRecord, isRebuilt } from './rebuild-indexes.ts';
import { putKey } from './redis-keys.ts';
import { requeueRestored } from './requeue-restored.ts';

export { RestoreError } from './contents.ts';

/** What `restore` did. */
export interface RestoreReport {
  /** Number of keys of Redis in the backup. */
  readonly keys: number;
  readonly blobs: number;
  /**
   * Number of unfinished jobs and samples that were queued. They continue from their checkpoints.
   */
  readonly queued: number;
  /** Ids of ended jobs and samples that are queued again: the backup lacks their results. */
  readonly reopened: readonly string[];
}

const CONCURRENT_BLOBS = 8;

/**
 * Restores a backup: blobs, then records with their indexes, then the queues. An interrupted
 * restore can be repeated with `force`.
 * @param options.force restore although the target is not empty: what the backup also has is
 *   replaced
 * @throws RestoreError, DamagedBlobError, RecordFileError
 */
export async function restore(
  store: Store,
  blobs: BlobStore,
  source: BlobStore,
  { force }: { readonly force: boolean },
): Promise<RestoreReport> {
  const contents = await readContents(source);
  if (!force) await checkEmpty(store, blobs);

  const keys = Object.keys(contents.blobs);
  await forEachInParallel(keys, CONCURRENT_BLOBS, async (key) => {
    const bytes = await source.get(BLOB_PREFIX + key, { sha256: contents.blobs[key] });
    if (!bytes) throw incomplete(`its blob ${key}`);
    await blobs.put(key, bytes);
  });
  for (let piece = 0; piece < contents.pieces; piece++) {
    for (const copy of await readPiece(source, piece)) {
      if (isRebuilt(copy)) continue;
      await indexRecord(store, copy);
      await putKey(store.redis, store.keys.prefix, copy);
    }
  }
  return { keys: contents.keys, blobs: keys.length, ...(await requeueRestored(store, blobs)) };
}

async function checkEmpty(store: Store, blobs: BlobStore): Promise<void> {
  const found: string[] = [];
  if (!(await isRedisEmpty(store))) found.push('Redis has records');
  let count = 0;
  for await (const key of blobs.list('')) if (key !== KEYS_MARKER) count++;
  if (count > 0) found.push(`storage has ${count} blobs`);
  const workers = (await listWorkers(store.redis, store.keys)).length;
  if (workers > 0) found.push(`${workers} workers run`);
  if (found.length === 0) return;
  throw new RestoreError(
    `Nothing was restored: ${found.join(', ')}. ` +
      'Stop the service and restore into an empty Redis and storage (FINDERY_REDIS_PREFIX, FINDERY_DATA, ' +
      'FINDERY_STORAGE), or use --force, which replaces what the backup also has.',
  );
}
