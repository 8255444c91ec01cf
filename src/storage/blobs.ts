import { sha256Of } from '../sha256.ts';

/**
 * A store of blobs: policies, images, checkpoints and archived records. A key such as
 * `policies/pol_x.safetensors` names one blob. A blob is replaced as a whole or not at all.
 * Each backend is one file of this folder.
 */
export interface BlobStore {
  /**
   * Stores `bytes` under `key` and replaces the blob that was there. Once the promise resolves, the
   * blob survives a crash of the machine.
   * @throws StorageFullError, BlobStoreError, BlobKeyError
   */
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<void>;
  /**
   * Reads a blob; null when there is none.
   * @throws DamagedBlobError when the bytes do not have the hash of `options`, or the one that the
   *   store kept
   */
  get(key: string, options?: GetOptions): Promise<Uint8Array | null>;
  /** Deletes a blob. Does nothing when there is none. */
  delete(key: string): Promise<void>;
  /**
   * Lists the keys that start with `prefix` (`policies/`, `images/img_01`; '' for all). Keys are
   * yielded as they are read, because a store may hold more than memory takes. The keys of one
   * folder are sorted by code unit. Keys that are put or deleted meanwhile may be listed or not.
   */
  list(prefix: string): AsyncIterable<string>;
  /** Lists like `list`, with sizes and times. */
  entries(prefix: string): AsyncIterable<BlobEntry>;
  /**
   * Checks that blobs can be written now (`/readyz`).
   * @throws BlobStoreError with the reason
   */
  check(): Promise<void>;
  /**
   * Removes the partial files of writers that were killed.
   * @param before milliseconds since 1970; files written later are left alone. An hour ago is safe.
   */
  removeLeftovers(before: number): Promise<void>;
}

/** How a blob is stored. */
export interface PutOptions {
  /** Media type, for backends that store one (S3); files have none. */
  readonly contentType?: string;
}

/** How a blob is read. */
export interface GetOptions {
  /**
   * Hexadecimal SHA-256 that the bytes must have. Without it, only the store's own checks are made.
   */
  readonly sha256?: string;
}

/** A blob in a listing. */
export interface BlobEntry {
  readonly key: string;
  readonly bytes: number;
  /** Time of the last put, in milliseconds since 1970. */
  readonly modifiedAt: number;
}

/**
 * A blob could not be written or read; `cause` is the system's error. A later attempt may succeed.
 */
export class BlobStoreError extends Error {
  override readonly name: string = 'BlobStoreError';
}

/**
 * The store is full. No part of the blob was stored; the same write succeeds once there is space.
 */
export class StorageFullError extends BlobStoreError {
  override readonly name = 'StorageFullError';
}

/**
 * The bytes of a blob are not those that were put. A later attempt fails too; only a backup helps.
 */
export class DamagedBlobError extends BlobStoreError {
  override readonly name = 'DamagedBlobError';
}

/** A key or prefix that no backend accepts. */
export class BlobKeyError extends Error {
  override readonly name = 'BlobKeyError';
}

// S3 allows 1,024 characters a key; most file systems allow 255 a segment.
const MAX_KEY_LENGTH = 512;
const MAX_SEGMENT_LENGTH = 200;
const SEGMENT = /^[A-Za-z0-9._-]+$/;

/**
 * Whether `segment` may stand between two slashes of a key: letters, digits, `.`, `_`, `-`, not `.`
 * or `..`.
 */
export function isKeySegment(segment: string): boolean {
  return SEGMENT.test(segment) && segment !== '.' && segment !== '..' && segment.length <= MAX_SEGMENT_LENGTH;
}

/**
 * Checks that `key` consists of safe segments, so that no key leads out of its store.
 * @throws BlobKeyError
 */
export function checkKey(key: string): void {
  if (key.length <= MAX_KEY_LENGTH && key.split('/').every(isKeySegment)) return;
  throw new BlobKeyError(
    `The blob key ${JSON.stringify(key.slice(0, MAX_KEY_LENGTH))} is not usable. A key is one or more ` +
      `segments joined by "/", at most ${MAX_KEY_LENGTH} characters. A segment is 1 to ` +
      `${MAX_SEGMENT_LENGTH} letters, digits, ".", "_" or "-", and not "." or "..".`,
  );
}

/**
 * Checks that a key could start with `prefix`: whole safe segments, then the start of a segment or
 * nothing.
 * @throws BlobKeyError
 */
export function checkPrefix(prefix: string): void {
  const segments = prefix.split('/');
  const start = segments.pop() ?? '';
  // The last segment may be the start of a name, so "." and ".." are fine: they start ".hidden".
  const isStart = start === '' || SEGMENT.test(start);
  if (segments.every(isKeySegment) && isStart && prefix.length <= MAX_KEY_LENGTH) return;
  throw new BlobKeyError(
    `The prefix ${JSON.stringify(prefix.slice(0, MAX_KEY_LENGTH))} is not usable: no blob key starts ` +
      'with it. Use whole segments that end in "/", such as "policies/", and after them the start of a ' +
      'name or nothing.',
  );
}

/** Whether the key of any blob starts with `prefix`. */
export async function hasAny(blobs: BlobStore, prefix: string): Promise<boolean> {
  for await (const _ of blobs.list(prefix)) return true;
  return false;
}

/**
 * Checks the hash of a blob.
 * @param sha256 hexadecimal; undefined when the hash is unknown, and then nothing is checked
 * @throws DamagedBlobError
 */
export function checkContent(key: string, bytes: Uint8Array, sha256: string | undefined): void {
  if (sha256 === undefined) return;
  const found = sha256Of(bytes);
  if (found === sha256) return;
  throw new DamagedBlobError(
    `The blob ${key} is damaged: its ${bytes.byteLength} bytes have the SHA-256 ${found}, ` +
      `but what was stored has ${sha256}. ` +
      'Restore it from a backup (findery restore), or delete the record that it belongs to.',
  );
}
