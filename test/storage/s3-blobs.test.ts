import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { S3Blobs } from '../../src/storage/s3-blobs.ts';
import { bytes, describeBlobs } from '../support/blob-contract.ts';
import { type S3Server, startS3Server } from '../support/s3-server.ts';

let folder: string;
let server: S3Server;
let blobs: S3Blobs;
let number = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-s3-'));
  server = await startS3Server(folder);
  Object.assign(process.env, server.environment);
});
afterAll(async () => {
  for (const name of Object.keys(server.environment)) delete process.env[name];
  await server.close();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  blobs = new S3Blobs({ bucket: server.bucket, prefix: `team/${number++}` });
});

describeBlobs('a bucket', {
  open: () => blobs,
  isEmpty: async () => (await Array.fromAsync(blobs.list(''))).length === 0,
  // S3 is atomic; the test server is not.
  isAtomic: false,
});

describe('blobs in a bucket', () => {
  it('are not listed when they have another prefix or a foreign name', async () => {
    const other = new S3Blobs({ bucket: server.bucket, prefix: `team/${number - 1}-more` });
    await other.put('a', bytes(1));
    await blobs.put('b', bytes(1));
    expect(await Array.fromAsync(blobs.list(''))).toEqual(['b']);
    expect(await blobs.get('a')).toBeNull();
  });

  it('are listed over several pages', async () => {
    const keys = Array.from({ length: 23 }, (_, i) => `images/${String(i).padStart(4, '0')}`);
    for (const key of keys) await blobs.put(key, bytes(1));
    const paging = new S3Blobs({ bucket: server.bucket, prefix: `team/${number - 1}` }, process.env, {
      pageSize: 5,
    });
    expect(await Array.fromAsync(paging.list('images/'))).toEqual(keys);
  });

  it('are reported as damaged after a foreign change, also when the caller knows no hash', async () => {
    await blobs.put('policies/p', new Uint8Array(5000).fill(3));
    const path = (await readdir(folder, { recursive: true })).find((name) =>
      /policies\/p\b.*_object$/.test(name),
    );
    await writeFile(join(folder, String(path)), new Uint8Array(5000).fill(4));
    const sha256 = createHash('sha256').update(new Uint8Array(5000).fill(3)).digest('hex');
    await expect(blobs.get('policies/p')).rejects.toMatchObject({ name: 'DamagedBlobError' });
    await expect(blobs.get('policies/p', { sha256 })).rejects.toMatchObject({ name: 'DamagedBlobError' });
  });

  it('report the bucket and the reason when it is not reachable', async () => {
    const nowhere = new S3Blobs({ bucket: 'there-is-none', prefix: 'x' });
    await expect(nowhere.check()).rejects.toMatchObject({
      name: 'BlobStoreError',
      message: expect.stringMatching(/The bucket of s3:\/\/there-is-none\/x can't be used: NoSuchBucket/),
    });
    const away = new S3Blobs(
      { bucket: server.bucket, prefix: '' },
      { AWS_ENDPOINT_URL: 'http://127.0.0.1:9' },
    );
    await expect(away.get('a')).rejects.toMatchObject({
      name: 'BlobStoreError',
      message: expect.stringMatching(
        /The blob a can't be read from s3:\/\/findery-test\/: .*(ECONNREFUSED|bad port)/,
      ),
    });
  });
});
