import type { BlobStore } from '../../storage/blobs.ts';
import { KEYS_MARKER } from '../../storage/keys-marker.ts';
import { decodeRecord } from '../../storage/record-file.ts';
import type { Store } from '../../store/store.ts';
import { listWorkers } from '../../store/worker-registry.ts';
import { newestFirst } from '../newest-first.ts';
import { forEachInParallel } from '../parallel.ts';
import { isRedisEmpty } from '../sweep/orphans.ts';
import { BACKUP_VERSION, type BackupContents, BLOB_PREFIX, CONTENTS_KEY, pieceKey } from './backup.ts';
import { type KeyCopy, putKey } from './redis-keys.ts';

/** The backup can't be restored, or its target is not empty. The message says what to do. */
export class RestoreError extends Error {
  override readonly name = 'RestoreError';
}

/** What `restore` did. */
export interface RestoreReport {
  /** Number of restored keys of Redis. */
  readonly keys: number;
  readonly blobs: number;
  /**
   * Number of unfinished jobs and samples that were queued. They continue from their checkpoints.
   */
  readonly queued: number;
}

const CONCURRENT_BLOBS = 8;

/**
 * Restores a backup: blobs, then records, then the queues. An interrupted restore can be repeated
 * with `force`.
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
    const bytes = await source.get(pieceKey(piece));
    if (!bytes) throw incomplete(pieceKey(piece));
    for (const copy of decodeRecord(bytes).keys as KeyCopy[])
      await putKey(store.redis, store.keys.prefix, copy);
  }
  return { keys: contents.keys, blobs: keys.length, queued: await requeue(store) };
}

function incomplete(missing: string): RestoreError {
  return new RestoreError(`The backup lacks ${missing}. It is incomplete; use another backup.`);
}

async function readContents(source: BlobStore): Promise<BackupContents> {
  const bytes = await source.get(CONTENTS_KEY);
  if (!bytes) {
    throw new RestoreError(
      `The backup is missing or unfinished: it has no ${CONTENTS_KEY}, which is written last.`,
    );
  }
  // decodeRecord has checked the hash, so the body is what `backup` wrote.
  const contents = decodeRecord(bytes) as unknown as BackupContents;
  if (contents.kind !== 'backup' || contents.version > BACKUP_VERSION) {
    throw new RestoreError(
      `The backup has version ${contents.version}, written by findery ${contents.writtenBy}; ` +
        `this findery reads up to ${BACKUP_VERSION}. Use a newer findery.`,
    );
  }
  return contents;
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

/**
 * Queues the unfinished work, because a backup has no queues. Running work is queued again, and
 * pending webhook deliveries begin their round again.
 * @returns the number of jobs and samples
 */
async function requeue(store: Store): Promise<number> {
  let count = 0;
  for await (const job of newestFirst(store.jobs)) {
    if (!isUnfinished(job.status)) continue;
    if (job.status === 'running') await store.jobs.change(job.id, { set: { status: 'queued' } });
    await store.queues.add('optimize', job);
    count++;
  }
  for await (const sample of newestFirst(store.samples)) {
    if (!isUnfinished(sample.status)) continue;
    if (sample.status === 'running') await store.samples.change(sample.id, { set: { status: 'queued' } });
    await store.queues.add('sample', sample);
    count++;
  }
  for await (const delivery of store.webhooks.deliveries.oldestFirst()) {
    if (delivery.status === 'pending') await store.webhooks.enqueue(delivery, delivery.round);
  }
  return count;
}

/** Work that is being canceled is unfinished too: a worker ends it. */
const isUnfinished = (status: string) => ['queued', 'running', 'canceling'].includes(status);
