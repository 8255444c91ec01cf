import { sha256Of } from '../sha256.ts';

/**
 * Where everything large lies: policies, pictures, checkpoints. A key such as `policies/pol_x.safetensors` names one blob;
 * a blob is replaced as a whole or not at all. A backend is one file beside this one.
 */
export interface BlobStore {
  /** Stores `bytes` under `key`, replacing what was there. Once it resolves, the blob outlives a crash of the machine. */
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<void>;
  /**
   * The blob, or null where there is none.
   * @throws DamagedBlobError when it is not what `sha256`, or the store's own note of what was put, says
   */
  get(key: string, options?: GetOptions): Promise<Uint8Array | null>;
  /** Removes the blob; fine where there is none. */
  delete(key: string): Promise<void>;
  /**
   * The keys that start with `prefix` (`policies/`, `images/img_01`; '' for all), one after the other, for there may be more than memory
   * takes; those directly in one folder are sorted by code unit. What is put or deleted meanwhile may be among them or not.
   */
  list(prefix: string): AsyncIterable<string>;
  /** The same with their sizes and times. */
  entries(prefix: string): AsyncIterable<BlobEntry>;
  /** Rejects with a plain reason when blobs can't be written now; `/readyz` asks. */
  check(): Promise<void>;
  /**
   * Removes what writers that were killed left half-written. It counts as left when it was last written before `before`
   * (milliseconds since 1970); an hour ago is safe.
   */
  removeLeftovers(before: number): Promise<void>;
}

export interface PutOptions {
  /** For backends that keep one, such as S3; a folder keeps none. */
  readonly contentType?: string;
}

export interface GetOptions {
  /** Hexadecimal SHA-256 of what the blob has to be; without one only the store's own checks are made. */
  readonly sha256?: string;
}

export interface BlobEntry {
  readonly key: string;
  readonly bytes: number;
  /** When it was last put, milliseconds since 1970. */
  readonly modifiedAt: number;
}

/** A blob could not be kept or fetched; `cause` is the system's own error. Trying again later may mend it. */
export class BlobStoreError extends Error {
  override readonly name: string = 'BlobStoreError';
}

/** There is no room for the blob. Nothing of it is left behind; the same write goes well once there is room again. */
export class StorageFullError extends BlobStoreError {
  override readonly name = 'StorageFullError';
}

/** The blob is there, but it is not what was put: only a copy of it from elsewhere helps. */
export class DamagedBlobError extends BlobStoreError {
  override readonly name = 'DamagedBlobError';
}

/** A key that no backend takes. */
export class BlobKeyError extends Error {
  override readonly name = 'BlobKeyError';
}

/** Longest key in characters; S3 allows 1,024 and most file systems 255 a segment. */
const LONGEST_KEY = 512;
const LONGEST_SEGMENT = 200;
const SEGMENT = /^[A-Za-z0-9._-]+$/;

/** Whether `segment` may stand between two slashes of a key: letters, digits, `.`, `_`, `-`, but neither `.` nor `..`. */
export function isKeySegment(segment: string): boolean {
  return SEGMENT.test(segment) && segment !== '.' && segment !== '..' && segment.length <= LONGEST_SEGMENT;
}

/** Throws a BlobKeyError unless `key` is made of safe segments, so that no key can lead out of its store. */
export function checkKey(key: string): void {
  if (key.length <= LONGEST_KEY && key.split('/').every(isKeySegment)) return;
  throw new BlobKeyError(
    `The blob key ${JSON.stringify(key.slice(0, LONGEST_KEY))} is not usable. A key is one or more segments joined by "/", ` +
      `each 1 to ${LONGEST_SEGMENT} letters, digits, ".", "_" or "-" and not "." or ".."; ${LONGEST_KEY} characters at most.`,
  );
}

/** Throws a BlobKeyError unless some key could start with `prefix`: whole safe segments, then the start of one or nothing. */
export function checkPrefix(prefix: string): void {
  const segments = prefix.split('/');
  const start = segments.pop();
  // The last segment may be unfinished: "." and ".." start ".hidden", and the file name filter does the rest.
  if (
    segments.every(isKeySegment) &&
    (start === '' || SEGMENT.test(start ?? '')) &&
    prefix.length <= LONGEST_KEY
  ) {
    return;
  }
  throw new BlobKeyError(
    `The prefix ${JSON.stringify(prefix.slice(0, LONGEST_KEY))} is not usable: no blob key can start with it. ` +
      'Give whole segments that end in "/", such as "policies/", and after them the start of a name or nothing.',
  );
}

/** Whether there is any blob whose key starts with `prefix`. */
export async function hasAny(blobs: BlobStore, prefix: string): Promise<boolean> {
  for await (const _ of blobs.list(prefix)) return true;
  return false;
}

/** Throws a DamagedBlobError unless `bytes` have that SHA-256 (undefined: nobody knows it). */
export function checkContent(key: string, bytes: Uint8Array, sha256: string | undefined): void {
  if (sha256 === undefined) return;
  const found = sha256Of(bytes);
  if (found === sha256) return;
  throw new DamagedBlobError(
    `The blob ${key} is damaged: its ${bytes.byteLength} bytes have the SHA-256 ${found}, but what was stored has ${sha256}. ` +
      'Put it back from a backup (findery restore), or delete what it belongs to.',
  );
}
