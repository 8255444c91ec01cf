import type { BlobStore } from '../../storage/blobs.ts';
import { decodeRecordFile } from '../../storage/record-file.ts';
import type { KeyCopy } from './redis-keys.ts';

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

/** Key of a piece. @param piece from 0 */
export const pieceKey = (piece: number) => `${KEY_PREFIX}${String(piece).padStart(6, '0')}.json`;

/** A backup can't be read or restored, or its target is not empty. The message says what to do. */
export class RestoreError extends Error {
  override readonly name = 'RestoreError';
}

/** The error of a backup that lacks a part. */
export function incomplete(missing: string): RestoreError {
  return new RestoreError(`The backup lacks ${missing}. It is incomplete; use another backup.`);
}

/**
 * Reads the contents of a backup.
 * @throws RestoreError, RecordFileError
 */
export async function readContents(source: BlobStore): Promise<BackupContents> {
  const bytes = await source.get(CONTENTS_KEY);
  if (!bytes) {
    throw new RestoreError(
      `The backup is missing or unfinished: it has no ${CONTENTS_KEY}, which is written last.`,
    );
  }
  // decodeRecordFile has checked the hash, so the body is what `backup` wrote.
  const contents = decodeRecordFile(bytes) as unknown as BackupContents;
  if (contents.kind !== 'backup' || contents.version > BACKUP_VERSION) {
    throw new RestoreError(
      `The backup has version ${contents.version}, written by findery ${contents.writtenBy}; ` +
        `this findery reads up to ${BACKUP_VERSION}. Use a newer findery.`,
    );
  }
  return contents;
}

/**
 * Reads a piece.
 * @param piece from 0
 * @throws RestoreError, RecordFileError
 */
export async function readPiece(source: BlobStore, piece: number): Promise<KeyCopy[]> {
  const bytes = await source.get(pieceKey(piece));
  if (!bytes) throw incomplete(pieceKey(piece));
  // decodeRecordFile has checked the hash, so the body is what `backup` wrote.
  return decodeRecordFile(bytes).keys as KeyCopy[];
}
