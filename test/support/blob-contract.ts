import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { BlobStore } from '../../src/storage/blobs.ts';

/** A blob of these byte values. */
export const bytes = (...values: number[]) => Uint8Array.from(values);

/**
 * The tests that every storage backend has to pass.
 * @param where name of the backend, for the titles
 * @param open opens an empty store
 * @param isEmpty checks, without using the store, that nothing was stored
 * @param isAtomic whether concurrent writes of a key are atomic
 */
export function describeBlobs(
  where: string,
  {
    open,
    isEmpty,
    isAtomic = true,
  }: {
    readonly open: () => BlobStore;
    readonly isEmpty: () => Promise<boolean>;
    readonly isAtomic?: boolean;
  },
): void {
  describe(`blobs in ${where}`, () => {
    it('are returned as they were stored, and replaced as a whole', async () => {
      const blobs = open();
      await blobs.put('policies/pol_1.safetensors', bytes(1, 2, 3));
      expect(Buffer.from((await blobs.get('policies/pol_1.safetensors')) ?? [])).toEqual(
        Buffer.from([1, 2, 3]),
      );
      await blobs.put('policies/pol_1.safetensors', bytes(9));
      expect(Buffer.from((await blobs.get('policies/pol_1.safetensors')) ?? [])).toEqual(Buffer.from([9]));
      expect(await Array.fromAsync(blobs.list(''))).toEqual(['policies/pol_1.safetensors']);
    });

    it('may be empty', async () => {
      const blobs = open();
      await blobs.put('a', bytes());
      expect(await blobs.get('a')).toHaveLength(0);
    });

    it('are null when there are none', async () => {
      const blobs = open();
      expect(await blobs.get('policies/none')).toBeNull();
      await blobs.put('a/b', bytes(1));
      expect(await blobs.get('a')).toBeNull();
    });

    it('are deleted idempotently', async () => {
      const blobs = open();
      await blobs.put('a', bytes(1));
      await blobs.delete('a');
      await blobs.delete('a');
      expect(await blobs.get('a')).toBeNull();
      expect(await Array.fromAsync(blobs.list(''))).toEqual([]);
    });

    it('are listed by prefix, sorted in each folder, with their sizes and times', async () => {
      const blobs = open();
      const before = Date.now();
      for (const key of ['images/img_2.png', 'images/img_1.png', 'images.txt', 'policies/deep/pol_1']) {
        await blobs.put(key, bytes(1, 2));
      }
      expect((await Array.fromAsync(blobs.list(''))).sort()).toEqual([
        'images.txt',
        'images/img_1.png',
        'images/img_2.png',
        'policies/deep/pol_1',
      ]);
      expect(await Array.fromAsync(blobs.list('images/'))).toEqual(['images/img_1.png', 'images/img_2.png']);
      expect(await Array.fromAsync(blobs.list('images/img_2'))).toEqual(['images/img_2.png']);
      expect(await Array.fromAsync(blobs.list('pol'))).toEqual(['policies/deep/pol_1']);
      expect(await Array.fromAsync(blobs.list('policies/de'))).toEqual(['policies/deep/pol_1']);
      expect(await Array.fromAsync(blobs.list('nothing/'))).toEqual([]);
      const [entry] = await Array.fromAsync(blobs.entries('images/img_1'));
      expect(entry).toMatchObject({ key: 'images/img_1.png', bytes: 2 });
      // Times on S3 are whole seconds.
      expect(entry.modifiedAt).toBeGreaterThanOrEqual(before - 2000);
      expect(entry.modifiedAt).toBeLessThanOrEqual(Date.now() + 2000);
    });

    it('are verified against a known hash', async () => {
      const blobs = open();
      await blobs.put('a', bytes(1, 2, 3));
      const sha256 = createHash('sha256')
        .update(bytes(1, 2, 3))
        .digest('hex');
      expect(await blobs.get('a', { sha256 })).toHaveLength(3);
      expect(await blobs.get('none', { sha256 })).toBeNull();
      await expect(blobs.get('a', { sha256: sha256.replace(/^./, 'x') })).rejects.toMatchObject({
        name: 'DamagedBlobError',
        message: expect.stringMatching(
          /^The blob a is damaged: its 3 bytes have the SHA-256 \w{64}, but .* x/,
        ),
      });
    });

    it.skipIf(!isAtomic)('are always complete while several versions are stored at once', async () => {
      const blobs = open();
      const versions = Array.from({ length: 20 }, (_, i) => new Uint8Array(50_000).fill(i));
      const writes = Promise.all(versions.map((version) => blobs.put('policies/p', version)));
      for (let reads = 0; reads < 20; reads++) {
        const read = await blobs.get('policies/p');
        if (read) expect(Buffer.from(read).equals(Buffer.alloc(50_000, read[0]))).toBe(true);
      }
      await writes;
      expect(await Array.fromAsync(blobs.list(''))).toEqual(['policies/p']);
    });

    it.each([
      '',
      '/',
      '/etc/passwd',
      'a//b',
      'a/',
      '.',
      '..',
      '../a',
      'a/../../b',
      'a/./b',
      'a\\b',
      'a b',
      'é',
      'a\0b',
      'a~b',
      `${'x'.repeat(201)}`,
      `${'x/'.repeat(300)}x`,
    ])('refuse the key %j', async (key) => {
      const blobs = open();
      const refusal = { name: 'BlobKeyError', message: expect.stringContaining('letters, digits') };
      await expect(blobs.put(key, bytes(1))).rejects.toMatchObject(refusal);
      await expect(blobs.get(key)).rejects.toMatchObject(refusal);
      await expect(blobs.delete(key)).rejects.toMatchObject(refusal);
      expect(await isEmpty()).toBe(true);
    });

    it.each(['../', '/', 'a/../b', 'a b', './x'])('refuse to be listed by the prefix %j', async (prefix) => {
      await expect(Array.fromAsync(open().list(prefix))).rejects.toMatchObject({ name: 'BlobKeyError' });
    });

    it('accept names that begin with a dot or are three dots', async () => {
      const blobs = open();
      for (const key of ['.hidden', '...', 'a/..b']) {
        await blobs.put(key, bytes(1));
      }
      expect(await Array.fromAsync(blobs.list('.'))).toEqual(['...', '.hidden']);
    });

    it('pass the check of /readyz, which leaves nothing behind', async () => {
      const blobs = open();
      await blobs.check();
      await blobs.check();
      expect(await Array.fromAsync(blobs.list(''))).toEqual([]);
    });
  });
}
