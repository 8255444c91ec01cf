import { sha256Of } from '../../sha256.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import { encodeRecord } from '../../storage/record-file.ts';
import type { Store } from '../../store/store.ts';
import { VERSION } from '../../version.ts';
import { copyKeys, type KeyCopy, scanKeys } from './redis-keys.ts';

/** A backup is a store of blobs itself: those of the service, the keys of Redis in pieces, and last what is in it. */
export const BLOBS = 'blobs/';
export const KEYS = 'redis/';
export const CONTENTS = 'backup.json';
export const BACKUP_VERSION = 1;

export interface Contents {
  readonly kind: 'backup';
  readonly version: number;
  /** Of findery. */
  readonly writtenBy: string;
  /** RFC 3339. */
  readonly createdAt: string;
  /** SHA-256 of every blob by its key. */
  readonly blobs: { readonly [key: string]: string };
  /** How many pieces the keys are in, and how many keys. */
  readonly pieces: number;
  readonly keys: number;
}

/** What a restored service makes anew: queues (from the records), signs of life, locks. */
const VOLATILE = /^(queue:|worker:|workers$|sweep$|swept$|turns:)/;
/** What belongs to one record, and has to fit to it. */
const FAMILY = ['record', 'events', 'rewards', 'children'] as const;
const KEYS_A_PIECE = 500;
const BLOBS_AT_A_TIME = 8;
/** How often a job may save a checkpoint while the one before is copied. */
const PATIENCE = 20;

/**
 * Copies a service, which may run meanwhile: records first, then blobs, so that every record finds its bytes; what is deleted
 * in between is deleted in the copy too. Checkpoints that are replaced in between are fetched again with their records.
 * @param target empty; an interrupted backup lacks CONTENTS and can't be restored
 */
export async function backup(
  store: Store,
  blobs: BlobStore,
  target: BlobStore,
  createdAt: string,
): Promise<Contents> {
  const copies = await copyRedis(store);
  const hashes: { [key: string]: string } = {};
  const copyBlob = async (key: string): Promise<boolean> => {
    const bytes = await blobs.get(key);
    if (!bytes) return false;
    await target.put(BLOBS + key, bytes);
    hashes[key] = sha256Of(bytes);
    return true;
  };
  const left = (await Array.fromAsync(blobs.list(''))).values();
  await Promise.all(
    Array.from({ length: BLOBS_AT_A_TIME }, async () => {
      for (const key of left) await copyBlob(key);
    }),
  );
  await fetchCheckpoints(store, copies, copyBlob, hashes);
  await noteDeletions(store, copies);

  const keys = [...copies.values()].flat();
  let pieces = 0;
  for (let i = 0; i < keys.length; i += KEYS_A_PIECE) {
    await target.put(
      pieceKey(pieces++),
      encodeRecord({ kind: 'keys', keys: keys.slice(i, i + KEYS_A_PIECE) }),
    );
  }
  const contents: Contents = {
    kind: 'backup',
    version: BACKUP_VERSION,
    writtenBy: VERSION,
    createdAt,
    blobs: hashes,
    pieces,
    keys: keys.length,
  };
  await target.put(CONTENTS, encodeRecord(contents));
  return contents;
}

export const pieceKey = (piece: number) => `${KEYS}${String(piece).padStart(6, '0')}.json`;

/** Every key, those of one record together, by the record's key or their own. */
async function copyRedis({ redis, keys: { prefix } }: Store): Promise<Map<string, KeyCopy[]>> {
  const copies = new Map<string, KeyCopy[]>();
  for await (const key of scanKeys(redis, prefix)) {
    if (VOLATILE.test(key)) continue;
    const name = familyOf(key) ?? key;
    if (copies.has(name)) continue;
    copies.set(name, await copyKeys(redis, prefix, membersOf(name)));
  }
  return copies;
}

function familyOf(key: string): string | null {
  const [, , id] = /^(record|events|rewards|children):(.+)$/.exec(key) ?? [];
  return id === undefined ? null : `record:${id}`;
}

function membersOf(name: string): string[] {
  return name.startsWith('record:')
    ? FAMILY.map((part) => `${part}:${name.slice('record:'.length)}`)
    : [name];
}

/** A job that runs replaces its checkpoint now and then: its record and the checkpoint have to be of one moment. */
async function fetchCheckpoints(
  { redis, keys: { prefix } }: Store,
  copies: Map<string, KeyCopy[]>,
  copyBlob: (key: string) => Promise<boolean>,
  hashes: { readonly [key: string]: string },
): Promise<void> {
  for (const name of copies.keys()) {
    for (let tries = 0; tries < PATIENCE; tries++) {
      const key = checkpointOf(copies.get(name) ?? []);
      if (key === null || key in hashes || (await copyBlob(key))) break;
      copies.set(name, await copyKeys(redis, prefix, membersOf(name)));
    }
  }
}

function checkpointOf(family: readonly KeyCopy[]): string | null {
  const fields = family.find(({ key }) => key.startsWith('record:job_'))?.value as
    | readonly string[]
    | undefined;
  const at = fields?.indexOf('checkpoint') ?? -1;
  if (!fields || at < 0) return null;
  return (JSON.parse(fields[at + 1]) as { readonly key: string } | null)?.key ?? null;
}

/** What was deleted while blobs were copied is deleted here too. */
async function noteDeletions(
  { redis, keys: { prefix } }: Store,
  copies: Map<string, KeyCopy[]>,
): Promise<void> {
  for await (const key of scanKeys(redis, `${prefix}:gone`)) {
    const name = `gone:${key}`;
    copies.set(name, await copyKeys(redis, prefix, [name]));
    copies.delete(`record:${key}`);
  }
}
