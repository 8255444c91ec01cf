import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileBlobs } from '../../src/storage/file-blobs.ts';

let folder: string;
let blobs: FileBlobs;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-blobs-'));
  blobs = new FileBlobs(join(folder, 'blobs'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

const bytes = (...values: number[]) => Uint8Array.from(values);

async function filesBelow(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
}

describe('blobs in a folder', () => {
  it('are given back as they were put, and replaced as a whole', async () => {
    await blobs.put('policies/pol_1.safetensors', bytes(1, 2, 3));
    expect(await blobs.get('policies/pol_1.safetensors')).toEqual(Buffer.from([1, 2, 3]));
    await blobs.put('policies/pol_1.safetensors', bytes(9));
    expect(await blobs.get('policies/pol_1.safetensors')).toEqual(Buffer.from([9]));
    expect(await filesBelow(folder)).toEqual(['pol_1.safetensors']);
  });

  it('are null where there is none, also where a folder or a file is in the way', async () => {
    expect(await blobs.get('policies/none')).toBeNull();
    await blobs.put('a/b', bytes(1));
    expect(await blobs.get('a')).toBeNull();
    expect(await blobs.get('a/b/c')).toBeNull();
  });

  it('are deleted once, and a second time without complaint', async () => {
    await blobs.put('a', bytes(1));
    await blobs.delete('a');
    await blobs.delete('a');
    expect(await blobs.get('a')).toBeNull();
  });

  it('are listed by prefix, sorted, without what is half-written or not ours', async () => {
    for (const key of ['images/img_2.png', 'images/img_1.png', 'images.txt', 'policies/deep/pol_1']) {
      await blobs.put(key, bytes(1));
    }
    await writeFile(join(blobs.folder, 'images', '.writing~0'), 'half');
    await writeFile(join(blobs.folder, 'images', 'img 3.png'), 'not ours');
    expect(await blobs.list('')).toEqual(['images.txt', 'images/img_1.png', 'images/img_2.png', 'policies/deep/pol_1']);
    expect(await blobs.list('images/')).toEqual(['images/img_1.png', 'images/img_2.png']);
    expect(await blobs.list('images/img_2')).toEqual(['images/img_2.png']);
    expect(await blobs.list('pol')).toEqual(['policies/deep/pol_1']);
    expect(await blobs.list('policies/de')).toEqual(['policies/deep/pol_1']);
    expect(await blobs.list('nothing/')).toEqual([]);
  });

  it('are one whole or another when several are put at a time', async () => {
    const versions = Array.from({ length: 20 }, (_, i) => new Uint8Array(50_000).fill(i));
    const writes = Promise.all(versions.map((version) => blobs.put('policies/p', version)));
    for (let reads = 0; reads < 50; reads++) {
      const read = await blobs.get('policies/p');
      if (read) expect(read).toEqual(Buffer.alloc(50_000, read[0]));
    }
    await writes;
    expect(await filesBelow(folder)).toEqual(['p']);
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
    const refusal = { name: 'BlobKeyError', message: expect.stringContaining('letters, digits') };
    await expect(blobs.put(key, bytes(1))).rejects.toMatchObject(refusal);
    await expect(blobs.get(key)).rejects.toMatchObject(refusal);
    await expect(blobs.delete(key)).rejects.toMatchObject(refusal);
    expect(await readdir(folder)).toEqual([]);
  });

  it.each(['../', '/', 'a/../b', 'a b', './x'])('are not listed by the prefix %j', async (prefix) => {
    await expect(blobs.list(prefix)).rejects.toMatchObject({ name: 'BlobKeyError' });
  });

  it('take names that begin with dots or are nothing but three', async () => {
    for (const key of ['.hidden', '...', 'a/..b']) {
      await blobs.put(key, bytes(1));
    }
    expect(await blobs.list('.')).toEqual(['...', '.hidden']);
  });
});

describe('a write that fails', () => {
  it('leaves the old blob and no half-written file when the file system takes no more', async () => {
    await blobs.put('policies/p', bytes(1, 2, 3));
    // The shell limits the size of files (in blocks of 512 or 1,024 bytes) for the process that it becomes.
    const module = pathToFileURL(join(import.meta.dirname, '../../src/storage/file-blobs.ts')).href;
    const script = `
      import { FileBlobs } from ${JSON.stringify(module)};
      const blobs = new FileBlobs(process.argv[1]);
      await blobs.put('policies/p', new Uint8Array(1_000_000)).catch((error) => console.log(error.name, error.message));`;
    const { stdout } = await promisify(execFile)('/bin/sh', [
      '-c',
      'ulimit -f 64 && exec "$@"',
      'limited',
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      '--input-type=module',
      '-e',
      script,
      blobs.folder,
    ]);
    expect(stdout).toMatch(/^BlobStoreError The blob policies\/p can't be written below .*: EFBIG/);
    expect(await blobs.get('policies/p')).toEqual(Buffer.from([1, 2, 3]));
    expect(await filesBelow(folder)).toEqual(['p']);
  });

  it('says which blob and why when a file is where a folder has to be', async () => {
    await blobs.put('a', bytes(1));
    await expect(blobs.put('a/b', bytes(1))).rejects.toMatchObject({
      name: 'BlobStoreError',
      message: expect.stringMatching(/The blob a\/b can't be written below .*: (EEXIST|ENOTDIR)/),
    });
  });
});

describe('the check for /readyz', () => {
  it('makes the folder, writes and leaves nothing', async () => {
    await blobs.check();
    expect(await filesBelow(folder)).toEqual([]);
    expect(await readdir(folder)).toEqual(['blobs']);
  });

  it('fails with the folder and the reason when it can not be written', async () => {
    await writeFile(join(folder, 'blobs'), 'a file in its place');
    await expect(blobs.check()).rejects.toMatchObject({
      name: 'BlobStoreError',
      message: expect.stringContaining(`The blob folder ${join(folder, 'blobs')} can't be written: `),
    });
  });
});

it('what killed writers left is removed once it is old', async () => {
  await blobs.put('images/kept', bytes(1));
  await mkdir(join(blobs.folder, 'images'), { recursive: true });
  for (const name of ['.writing~old', '.writing~new']) await writeFile(join(blobs.folder, 'images', name), 'half');
  await utimes(join(blobs.folder, 'images', '.writing~old'), 1000, 1000);
  await utimes(join(blobs.folder, 'images', 'kept'), 1000, 1000);
  await blobs.removeLeftovers(2_000_000);
  expect((await filesBelow(folder)).sort()).toEqual(['.writing~new', 'kept']);
});
