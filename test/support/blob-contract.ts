import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { BlobStore } from '../../src/storage/blobs.ts';

export const bytes = (...values: number[]) => Uint8Array.from(values);

/** What every storage backend has to do. `open` gives one that is empty; `isEmpty` looks past it whether nothing was kept. */
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
    it('are given back as they were put, and replaced as a whole', async () => {
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

    it('are null where there is none', async () => {
      const blobs = open();
      expect(await blobs.get('policies/none')).toBeNull();
      await blobs.put('a/b', bytes(1));
      expect(await blobs.get('a')).toBeNull();
    });

    it('are deleted once, and a second time without complaint', async () => {
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

    it('are checked against the hash that is known of them', async () => {
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

    it.skipIf(!isAtomic)('are one whole or another when several are put at a time', async () => {
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
    ])('have no key %j', async (key) => {
      const blobs = open();
      const refusal = { name: 'BlobKeyError', message: expect.stringContaining('letters, digits') };
      await expect(blobs.put(key, bytes(1))).rejects.toMatchObject(refusal);
      await expect(blobs.get(key)).rejects.toMatchObject(refusal);
      await expect(blobs.delete(key)).rejects.toMatchObject(refusal);
      expect(await isEmpty()).toBe(true);
    });

    it.each(['../', '/', 'a/../b', 'a b', './x'])('are not listed by the prefix %j', async (prefix) => {
      await expect(Array.fromAsync(open().list(prefix))).rejects.toMatchObject({ name: 'BlobKeyError' });
    });

    it('take names that begin with dots or are nothing but three', async () => {
      const blobs = open();
      for (const key of ['.hidden', '...', 'a/..b']) {
        await blobs.put(key, bytes(1));
      }
      expect(await Array.fromAsync(blobs.list('.'))).toEqual(['...', '.hidden']);
    });

    it('pass the check for /readyz, which leaves nothing', async () => {
      const blobs = open();
      await blobs.check();
      await blobs.check();
      expect(await Array.fromAsync(blobs.list(''))).toEqual([]);
    });
  });
}
