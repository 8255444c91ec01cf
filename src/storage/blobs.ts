/**
 * Where everything large lies: policies, pictures, checkpoints. A key such as `policies/pol_x.safetensors` names one blob;
 * a blob is replaced as a whole or not at all. A backend is one file beside this one.
 */
export interface BlobStore {
  /** Stores `bytes` under `key`, replacing what was there. Once it resolves, the blob outlives a crash of the machine. */
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<void>;
  /** The blob, or null where there is none. */
  get(key: string): Promise<Uint8Array | null>;
  /** Removes the blob; fine where there is none. */
  delete(key: string): Promise<void>;
  /** The keys that start with `prefix` (`policies/`, `images/img_01`; '' for all), sorted by code unit. */
  list(prefix: string): Promise<string[]>;
  /** Rejects with a plain reason when blobs can't be written now; `/readyz` asks. */
  check(): Promise<void>;
}

export interface PutOptions {
  /** For backends that keep one, such as S3; a folder keeps none. */
  readonly contentType?: string;
}

/** A blob could not be kept or fetched; `cause` is the system's own error. */
export class BlobStoreError extends Error {
  override readonly name = 'BlobStoreError';
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
  if (segments.every(isKeySegment) && (start === '' || SEGMENT.test(start ?? '')) && prefix.length <= LONGEST_KEY) {
    return;
  }
  throw new BlobKeyError(
    `The prefix ${JSON.stringify(prefix.slice(0, LONGEST_KEY))} is not usable: no blob key can start with it. ` +
      'Give whole segments that end in "/", such as "policies/", and after them the start of a name or nothing.',
  );
}
