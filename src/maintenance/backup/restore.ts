import type { BlobStore } from '../../storage/blobs.ts';
import { decodeRecord } from '../../storage/record-file.ts';
import type { Store } from '../../store/store.ts';
import { listWorkers } from '../../store/worker-registry.ts';
import { isRedisEmpty } from '../sweep/orphans.ts';
import { eachRecord } from '../sweep/pages.ts';
import { BACKUP_VERSION, BLOBS, CONTENTS, type Contents, pieceKey } from './backup.ts';
import { type KeyCopy, putKey } from './redis-keys.ts';

/** There is no backup that can be restored, or it would go over something; the message says what to do. */
export class RestoreError extends Error {
  override readonly name = 'RestoreError';
}

export interface Restored {
  readonly keys: number;
  readonly blobs: number;
  /** Jobs and samples that were not finished and wait again; they go on from their checkpoints. */
  readonly queued: number;
}

const BLOBS_AT_A_TIME = 8;

/**
 * Puts a backup back: blobs first, then records, then what was not finished is queued. Broken off, it can be done over with `force`.
 * @param options.force also where there is something: what the backup has too is replaced, the rest stays
 * @throws RestoreError, DamagedBlobError, RecordFileError
 */
export async function restore(
  store: Store,
  blobs: BlobStore,
  source: BlobStore,
  { force }: { readonly force: boolean },
): Promise<Restored> {
  const contents = await readContents(source);
  if (!force) await checkEmpty(store, blobs);

  const keys = Object.keys(contents.blobs);
  const left = keys.values();
  await Promise.all(
    Array.from({ length: BLOBS_AT_A_TIME }, async () => {
      for (const key of left) {
        const bytes = await source.get(BLOBS + key, { sha256: contents.blobs[key] });
        if (!bytes)
          throw new RestoreError(
            `The backup lacks its blob ${key}. It can't be restored whole; take another one.`,
          );
        await blobs.put(key, bytes);
      }
    }),
  );
  for (let piece = 0; piece < contents.pieces; piece++) {
    const bytes = await source.get(pieceKey(piece));
    if (!bytes)
      throw new RestoreError(
        `The backup lacks ${pieceKey(piece)}. It can't be restored whole; take another one.`,
      );
    for (const copy of decodeRecord(bytes).keys as KeyCopy[])
      await putKey(store.redis, store.keys.prefix, copy);
  }
  return { keys: contents.keys, blobs: keys.length, queued: await requeue(store) };
}

async function readContents(source: BlobStore): Promise<Contents> {
  const bytes = await source.get(CONTENTS);
  if (!bytes) {
    throw new RestoreError(`There is no finished backup: ${CONTENTS}, which is written last, is not there.`);
  }
  const contents = decodeRecord(bytes) as unknown as Contents;
  if (contents.kind !== 'backup' || contents.version > BACKUP_VERSION) {
    throw new RestoreError(
      `The backup is of version ${contents.version}, written by findery ${contents.writtenBy}; this one reads up to ${BACKUP_VERSION}. Use a newer findery.`,
    );
  }
  return contents;
}

async function checkEmpty(store: Store, blobs: BlobStore): Promise<void> {
  const there: string[] = [];
  if (!(await isRedisEmpty(store))) there.push('Redis has records');
  let count = 0;
  for await (const _ of blobs.list('')) count++;
  if (count > 0) there.push(`storage has ${count} blobs`);
  const workers = (await listWorkers(store.redis, store.keys)).length;
  if (workers > 0) there.push(`${workers} workers run`);
  if (there.length === 0) return;
  throw new RestoreError(
    `Nothing was restored: ${there.join(', ')}. Stop the service and restore into an empty Redis and storage (FINDERY_REDIS_PREFIX, FINDERY_DATA, FINDERY_STORAGE), or use --force: what the backup has too is replaced then.`,
  );
}

/** Queues do not come with a backup: whatever waited or ran waits now, and deliveries of webhooks begin their round anew. */
async function requeue(store: Store): Promise<number> {
  let count = 0;
  for (const [name, records] of [
    ['optimize', store.jobs],
    ['sample', store.samples],
  ] as const) {
    for await (const record of eachRecord(records as typeof store.jobs)) {
      const { id, status } = record;
      if (!isWork(status)) continue;
      if (status === 'running')
        await (records as typeof store.jobs).change(id, { set: { status: 'queued' } });
      await store.queues.add(name, record);
      count++;
    }
  }
  for await (const delivery of store.webhooks.deliveries.fromOldest()) {
    if (delivery.status === 'pending') await store.webhooks.queueUp(delivery, delivery.round);
  }
  return count;
}

/** Also one that is to be canceled: a worker ends it. */
const isWork = (status: string) => ['queued', 'running', 'canceling'].includes(status);
