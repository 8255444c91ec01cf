import { RECORD_PREFIX, REMOVAL_PREFIX } from '../../jobs/archive.ts';
import { SHARE_PREFIX } from '../../jobs/stored-files.ts';
import { sha256Of } from '../../sha256.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import { encodeRecordFile } from '../../storage/record-file.ts';
import type { Store } from '../../store/store.ts';
import { VERSION } from '../../version.ts';
import { forEachInParallel } from '../parallel.ts';
import { BACKUP_VERSION, type BackupContents, BLOB_PREFIX, CONTENTS_KEY, pieceKey } from './contents.ts';
import { copyKeys, type KeyCopy, scanKeys } from './redis-keys.ts';
import { type NeededFile, recordIdOf, referencesOf, removalKeysOf } from './references.ts';

/**
 * Keys that are not copied: queues, which `restore` rebuilds from the records, announcements of
 * workers, shares of evaluations, and locks.
 */
const VOLATILE_KEY = /^(queue:|worker:|workers$|sweep$|swept$|turns:|shares(:|$))/;
/** The keys of one record, which are copied together, with their types. */
const RECORD_KEYS = { record: 'hash', events: 'stream', rewards: 'list', children: 'set' } as const;
const KEYS_PER_PIECE = 500;
const CONCURRENT_BLOBS = 8;
/**
 * How often a record is copied again because it changed while what it needs was copied. A job
 * replaces its checkpoint about every second.
 */
const MAX_ROUNDS = 20;

/** Name of `RedisKeys.outbox` without the prefix. */
const OUTBOX = 'outbox';
/** Records of work, which are cut before their events. */
const WORK_GROUP = /^record:(job|smp|pol|img)_/;

/** A backup in the making. */
interface Copying {
  readonly store: Store;
  /** Copies of keys: those of one record under `record:ID`, others under their own name. */
  readonly copies: Map<string, KeyCopy[]>;
  /** Hexadecimal SHA-256 of the copied blobs. */
  readonly hashes: { [key: string]: string };
  /** Copies a blob and replaces its copy. @returns false when there is no such blob */
  copyBlob(key: string): Promise<boolean>;
}

/**
 * Copies a service, which may run meanwhile. Archived records are copied before other blobs, and
 * records of Redis before all blobs, because what a record refers to is stored before it. Then
 * every copied record is completed: what it needs and the copy lacks is copied, and a record that
 * changed meanwhile is copied again with what it needs. Records that are deleted meanwhile are
 * deleted in the copy too.
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
  const copyListed = async (prefix: string) => {
    const listed = await Array.fromAsync(blobs.list(prefix));
    // A record that was archived since would lack its files here; `complete` copies it if need be.
    // Shares of an evaluation are made again.
    const isWanted = (key: string) => !key.startsWith(RECORD_PREFIX) && !key.startsWith(SHARE_PREFIX);
    const wanted = prefix === '' ? listed.filter(isWanted) : listed;
    await forEachInParallel(
      wanted.filter((key) => !(key in hashes)),
      CONCURRENT_BLOBS,
      copyBlob,
    );
  };
  await copyListed(RECORD_PREFIX);
  await copyListed('');
  await complete({ store, copies, hashes, copyBlob });
  await copyEvents(store, copies);
  await copyDeletions(store, copies);
  await copyListed(REMOVAL_PREFIX);

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

/** Copies every key of Redis. */
async function copyRedis(store: Store): Promise<Map<string, KeyCopy[]>> {
  const copies = new Map<string, KeyCopy[]>();
  for await (const key of scanKeys(store.redis, store.keys.prefix)) {
    if (VOLATILE_KEY.test(key)) continue;
    const group = groupOf(key);
    if (!copies.has(group)) copies.set(group, await copyGroup(store, group));
  }
  return copies;
}

function groupOf(key: string): string {
  const [, , id] = /^(record|events|rewards|children):(.+)$/.exec(key) ?? [];
  return id === undefined ? key : `record:${id}`;
}

function copyGroup({ redis, keys: { prefix } }: Store, group: string): Promise<KeyCopy[]> {
  const id = recordIdOf(group);
  if (id === null) return copyKeys(redis, prefix, [group]);
  const types = Object.fromEntries(
    Object.entries(RECORD_KEYS).map(([part, type]) => [`${part}:${id}`, type]),
  );
  return copyKeys(redis, prefix, Object.keys(types), types);
}

/**
 * Completes the copied records, until each has what it needs. A record that is missing because it
 * was deleted is not needed.
 */
async function complete(copying: Copying): Promise<void> {
  const { copies } = copying;
  let pending = new Set([...copies.keys()].filter((group) => recordIdOf(group) !== null));
  for (let round = 0; round < MAX_ROUNDS && pending.size > 0; round++) {
    const next = new Set<string>();
    for (const group of pending) for (const again of await completeRecord(copying, group)) next.add(again);
    pending = next;
  }
}

/** Copies what a record needs. @returns the groups that were copied and have to be completed */
async function completeRecord(
  { store, copies, hashes, copyBlob }: Copying,
  group: string,
): Promise<string[]> {
  const needed = referencesOf(copies.get(group) ?? []);
  if (!needed) return [];
  const { files, archived } = needed;
  const copied: string[] = [];
  let isStale = false;
  for (const id of needed.records) {
    const child = `record:${id}`;
    const known = referencesOf(copies.get(child) ?? []);
    // The results of ended work have ended before it; an unfinished copy of them is older.
    const isOlder = known?.isUnfinished === true && !needed.isUnfinished;
    if (known && !isOlder) continue;
    const copy = await copyGroup(store, child);
    copies.set(child, copy);
    if (copy.length > 0) copied.push(child);
    else if (!(await isGone(store, id)) && !removalKeysOf(id).some((key) => key in hashes)) isStale = true;
  }
  const isThere = ({ key, sha256 }: NeededFile) =>
    key in hashes && (sha256 === undefined || hashes[key] === sha256);
  for (const file of files) {
    if (isThere(file)) continue;
    await copyBlob(file.key);
    if (!isThere(file)) isStale = true;
  }
  if (archived !== null && !(archived in hashes)) await copyBlob(archived);
  if (!isStale) return copied;
  copies.set(group, await copyGroup(store, group));
  const changed = referencesOf(copies.get(group) ?? []);
  for (const { key } of changed?.files ?? []) await copyBlob(key);
  // Results that another try of the work has replaced are copied again too.
  for (const id of changed?.records ?? []) {
    const child = `record:${id}`;
    copies.set(child, await copyGroup(store, child));
    for (const { key } of referencesOf(copies.get(child) ?? [])?.files ?? []) await copyBlob(key);
    copied.push(child);
  }
  return [...copied, group];
}

/**
 * Copies the outbox again, and then what is new beside the records of work. The notice of an end
 * that was copied is in the outbox, or its delivery was created by then.
 */
async function copyEvents(store: Store, copies: Map<string, KeyCopy[]>): Promise<void> {
  copies.set(OUTBOX, await copyGroup(store, OUTBOX));
  for await (const key of scanKeys(store.redis, store.keys.prefix)) {
    const group = groupOf(key);
    if (VOLATILE_KEY.test(key) || WORK_GROUP.test(group) || copies.has(group)) continue;
    copies.set(group, await copyGroup(store, group));
  }
}

async function isGone({ redis, keys }: Store, id: string): Promise<boolean> {
  return (await redis.exists(keys.gone(id))) === 1;
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
