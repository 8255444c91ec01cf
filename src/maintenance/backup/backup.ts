import { sha256Of } from '../../sha256.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import { encodeRecordFile } from '../../storage/record-file.ts';
import type { Store } from '../../store/store.ts';
import { VERSION } from '../../version.ts';
import { forEachInParallel } from '../parallel.ts';
import { copyKeys, type KeyCopy, scanKeys } from './redis-keys.ts';

/*
 * A backup is a store of blobs itself. It holds copies of the service's blobs (`blobs/`), the keys
 * of Redis in pieces (`redis/000000.json`, ...) and its contents (`backup.json`), written last.
 */

/** Prefix of the copied blobs. */
export const BLOB_PREFIX = 'blobs/';
/** Prefix of the pieces with the keys of Redis. */
const KEY_PREFIX = 'redis/';
/** Key of the contents. A backup without them is incomplete. */
export const CONTENTS_KEY = 'backup.json';
/** Version of the format that this findery writes. */
export const BACKUP_VERSION = 1;

/** The contents of a backup. */
export interface BackupContents {
  readonly kind: 'backup';
  readonly version: number;
  /** Version of findery. */
  readonly writtenBy: string;
  /** RFC 3339. */
  readonly createdAt: string;
  /** Hexadecimal SHA-256 of every blob, by its key. */
  readonly blobs: { readonly [key: string]: string };
  /** Number of pieces. */
  readonly pieces: number;
  /** Number of keys of Redis. */
  readonly keys: number;
}

/**
 * Keys that are not copied: queues, which `restore` rebuilds from the records, announcements of
 * workers, and locks.
 */
const VOLATILE_KEY = /^(queue:|worker:|workers$|sweep$|swept$|turns:)/;
/** The keys of one record, which are copied together. */
const RECORD_KEYS = ['record', 'events', 'rewards', 'children'] as const;
const KEYS_PER_PIECE = 500;
const CONCURRENT_BLOBS = 8;
/** How often a job may replace its checkpoint while this process tries to copy it. */
const MAX_CHECKPOINT_READS = 20;

/**
 * Copies a service, which may run meanwhile. Records are copied before blobs, so that the blobs of
 * every copied record exist. Records that are deleted meanwhile are deleted in the copy too. A
 * checkpoint that is replaced meanwhile is copied again, together with the record of its job.
 * @param target an empty store. An interrupted backup has no contents and can't be restored.
 * @param createdAt RFC 3339
 */
export async function backup(
  store: Store,
  blobs: BlobStore,
  target: BlobStore,
  createdAt: string,
): Promise<BackupContents> {
  const copies = await copyRedis(store);
  const hashes: { [key: string]: string } = {};
  const copyBlob = async (key: string): Promise<boolean> => {
    const bytes = await blobs.get(key);
    if (!bytes) return false;
    await target.put(BLOB_PREFIX + key, bytes);
    hashes[key] = sha256Of(bytes);
    return true;
  };
  await forEachInParallel(await Array.fromAsync(blobs.list('')), CONCURRENT_BLOBS, copyBlob);
  await copyCheckpoints(store, copies, copyBlob, hashes);
  await copyDeletions(store, copies);

  const keys = [...copies.values()].flat();
  let pieces = 0;
  for (let i = 0; i < keys.length; i += KEYS_PER_PIECE) {
    await target.put(
      pieceKey(pieces++),
      encodeRecordFile({ kind: 'keys', keys: keys.slice(i, i + KEYS_PER_PIECE) }),
    );
  }
  const contents: BackupContents = {
    kind: 'backup',
    version: BACKUP_VERSION,
    writtenBy: VERSION,
    createdAt,
    blobs: hashes,
    pieces,
    keys: keys.length,
  };
  await target.put(CONTENTS_KEY, encodeRecordFile(contents));
  return contents;
}

/** Key of a piece. @param piece from 0 */
export const pieceKey = (piece: number) => `${KEY_PREFIX}${String(piece).padStart(6, '0')}.json`;

/**
 * Copies every key of Redis. The copies are grouped: the keys of one record under `record:ID`,
 * others under their own name.
 */
async function copyRedis({ redis, keys: { prefix } }: Store): Promise<Map<string, KeyCopy[]>> {
  const copies = new Map<string, KeyCopy[]>();
  for await (const key of scanKeys(redis, prefix)) {
    if (VOLATILE_KEY.test(key)) continue;
    const group = groupOf(key);
    if (copies.has(group)) continue;
    copies.set(group, await copyKeys(redis, prefix, keysOfGroup(group)));
  }
  return copies;
}

function groupOf(key: string): string {
  const [, , id] = /^(record|events|rewards|children):(.+)$/.exec(key) ?? [];
  return id === undefined ? key : `record:${id}`;
}

function keysOfGroup(group: string): string[] {
  return group.startsWith('record:')
    ? RECORD_KEYS.map((part) => `${part}:${group.slice('record:'.length)}`)
    : [group];
}

/**
 * Copies the missing checkpoints. A running job replaces its checkpoint, so a missing one is looked
 * up in a new copy of the job's record: record and checkpoint must be of the same moment.
 */
async function copyCheckpoints(
  { redis, keys: { prefix } }: Store,
  copies: Map<string, KeyCopy[]>,
  copyBlob: (key: string) => Promise<boolean>,
  hashes: { readonly [key: string]: string },
): Promise<void> {
  for (const group of copies.keys()) {
    for (let tries = 0; tries < MAX_CHECKPOINT_READS; tries++) {
      const key = checkpointOf(copies.get(group) ?? []);
      if (key === null || key in hashes || (await copyBlob(key))) break;
      copies.set(group, await copyKeys(redis, prefix, keysOfGroup(group)));
    }
  }
}

/** The key of the checkpoint that the record of a job refers to; null when there is none. */
function checkpointOf(group: readonly KeyCopy[]): string | null {
  const fields = group.find(({ key }) => key.startsWith('record:job_'))?.value as
    | readonly string[]
    | undefined;
  const index = fields?.indexOf('checkpoint') ?? -1;
  if (!fields || index < 0) return null;
  return (JSON.parse(fields[index + 1]) as { readonly key: string } | null)?.key ?? null;
}

/**
 * Removes the records that were deleted since they were copied, and copies the notes of their
 * deletion.
 */
async function copyDeletions(
  { redis, keys: { prefix } }: Store,
  copies: Map<string, KeyCopy[]>,
): Promise<void> {
  for await (const id of scanKeys(redis, `${prefix}:gone`)) {
    const note = `gone:${id}`;
    copies.set(note, await copyKeys(redis, prefix, [note]));
    copies.delete(`record:${id}`);
  }
}
