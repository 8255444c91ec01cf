import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import type { S3Place } from '../config/storage-place.ts';
import { sha256Of } from '../sha256.ts';
import {
  type BlobEntry,
  type BlobStore,
  BlobStoreError,
  checkContent,
  checkKey,
  checkPrefix,
  type GetOptions,
  isKeySegment,
  type PutOptions,
  StorageFullError,
} from './blobs.ts';

/** Metadata name of an object's SHA-256. Not every server keeps checksums itself. */
const SHA256 = 'sha256';
/** Key that `check` writes and deletes to find out whether the bucket is writable. */
const PROBE_KEY = '.check';

/**
 * Blobs as objects in a bucket of S3 or a compatible server (MinIO, R2, Garage, Ceph). Endpoint,
 * region and credentials are those of the AWS SDK: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL,
 * AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profiles, roles. With an endpoint,
 * buckets are addressed by path. A put is atomic by S3's contract.
 */
export class S3Blobs implements BlobStore {
  readonly #client: S3Client;
  readonly #bucket: string;
  /** '' or a path that ends in a slash. */
  readonly #prefix: string;
  readonly #name: string;
  readonly #pageSize: number;
  #isProbed = false;

  /** @param pageSize keys a listing request returns, at most 1,000 */
  constructor(
    { bucket, prefix }: S3Place,
    environment: NodeJS.ProcessEnv = process.env,
    { pageSize = 1000 }: { readonly pageSize?: number } = {},
  ) {
    const endpoint = environment.AWS_ENDPOINT_URL_S3 || environment.AWS_ENDPOINT_URL || undefined;
    const region = environment.AWS_REGION || environment.AWS_DEFAULT_REGION;
    this.#client = new S3Client({
      ...(endpoint ? { endpoint, forcePathStyle: true } : {}),
      // Most compatible servers ignore the region, but a signature needs one.
      ...(region || endpoint ? { region: region || 'us-east-1' } : {}),
    });
    this.#bucket = bucket;
    this.#prefix = prefix === '' ? '' : `${prefix}/`;
    this.#pageSize = pageSize;
    this.#name = `s3://${bucket}/${prefix}`;
  }

  async put(key: string, bytes: Uint8Array, { contentType }: PutOptions = {}): Promise<void> {
    checkKey(key);
    await this.#wrapErrors(`The blob ${key} can't be written to ${this.#name}`, () =>
      this.#client.send(
        new PutObjectCommand({
          ...this.#object(key),
          Body: bytes,
          ContentType: contentType ?? typeOf(key),
          Metadata: { [SHA256]: sha256Of(bytes) },
        }),
      ),
    );
  }

  async get(key: string, { sha256 }: GetOptions = {}): Promise<Uint8Array | null> {
    checkKey(key);
    const found = await this.#wrapErrors(`The blob ${key} can't be read from ${this.#name}`, async () => {
      try {
        const { Body, Metadata } = await this.#client.send(new GetObjectCommand(this.#object(key)));
        return {
          bytes: (await Body?.transformToByteArray()) ?? new Uint8Array(),
          storedHash: Metadata?.[SHA256],
        };
      } catch (error) {
        if (isAbsent(error)) return null;
        throw error;
      }
    });
    if (!found) return null;
    checkContent(key, found.bytes, sha256 ?? found.storedHash);
    return found.bytes;
  }

  async delete(key: string): Promise<void> {
    checkKey(key);
    await this.#wrapErrors(`The blob ${key} can't be deleted from ${this.#name}`, () =>
      this.#client.send(new DeleteObjectCommand(this.#object(key))),
    );
  }

  async *list(prefix: string): AsyncGenerator<string> {
    for await (const { key } of this.entries(prefix)) yield key;
  }

  /** Yields in the server's order: S3 sorts by code unit, some servers folder by folder. */
  async *entries(prefix: string): AsyncGenerator<BlobEntry> {
    checkPrefix(prefix);
    for (let after: string | undefined, more = true; more; ) {
      const page = await this.#wrapErrors(`The blobs of ${this.#name} can't be listed`, () =>
        this.#client.send(
          new ListObjectsV2Command({
            Bucket: this.#bucket,
            Prefix: this.#prefix + prefix,
            MaxKeys: this.#pageSize,
            ContinuationToken: after,
          }),
        ),
      );
      for (const { Key = '', Size = 0, LastModified } of page.Contents ?? []) {
        const key = Key.slice(this.#prefix.length);
        // Objects with other names were put there by other software.
        if (key.split('/').every(isKeySegment)) {
          yield { key, bytes: Size, modifiedAt: LastModified?.getTime() ?? 0 };
        }
      }
      after = page.NextContinuationToken;
      more = page.IsTruncated === true && after !== undefined;
    }
  }

  async check(): Promise<void> {
    await this.#wrapErrors(`The bucket of ${this.#name} can't be used`, async () => {
      if (this.#isProbed)
        return void (await this.#client.send(new HeadBucketCommand({ Bucket: this.#bucket })));
      // Written once only, not at every /readyz, because S3 charges for writes.
      await this.#client.send(new PutObjectCommand({ ...this.#object(PROBE_KEY), Body: new Uint8Array(1) }));
      await this.#client.send(new DeleteObjectCommand(this.#object(PROBE_KEY)));
      this.#isProbed = true;
    });
  }

  /** Does nothing: an interrupted put leaves nothing on S3. */
  async removeLeftovers(): Promise<void> {}

  #object(key: string) {
    return { Bucket: this.#bucket, Key: this.#prefix + key };
  }

  /**
   * Runs `action`.
   * @param what start of the error's message: what could not be done
   * @throws StorageFullError, BlobStoreError
   */
  async #wrapErrors<T>(what: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      const reason = describe(error);
      // Not the SDK's error itself: it holds the whole connection, which must not be logged.
      const cause = new Error(reason);
      if (isFull(error)) {
        throw new StorageFullError(`${what}: there is no room (${reason}). Make room and try again.`, {
          cause,
        });
      }
      throw new BlobStoreError(`${what}: ${reason}.`, { cause });
    }
  }
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
}

function isAbsent(error: unknown): boolean {
  const { name } = error as Error;
  return name === 'NoSuchKey' || (name === 'NotFound' && statusOf(error) === 404);
}

/** MinIO and others answer 507; S3 itself is never full. */
function isFull(error: unknown): boolean {
  const { name } = error as Error;
  return statusOf(error) === 507 || name === 'XMinioStorageFull' || name === 'QuotaExceeded';
}

/**
 * Formats an error of the SDK. `name` holds its code. An AggregateError lists the failures of all
 * addresses of the host.
 */
function describe(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return describe(error.errors[0]);
  if (!(error instanceof Error)) return String(error);
  const { name, message } = error;
  return [name === 'Error' ? '' : name, message.replace(/\.$/, '')].filter(Boolean).join(': ');
}

/** Media types by file extension. */
const TYPES: { readonly [extension: string]: string } = {
  png: 'image/png',
  webp: 'image/webp',
  jpeg: 'image/jpeg',
  json: 'application/json',
};

function typeOf(key: string): string {
  return TYPES[key.slice(key.lastIndexOf('.') + 1)] ?? 'application/octet-stream';
}
