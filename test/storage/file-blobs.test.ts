import { execFile, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { bytes, describeBlobs } from '../support/blob-contract.ts';

let folder: string;
let blobs: FileBlobs;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-blobs-'));
  blobs = new FileBlobs(join(folder, 'blobs'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

const MODULE = pathToFileURL(join(import.meta.dirname, '../../src/storage/file-blobs.ts')).href;
/** Whether this system allows a process to mount file systems that only it sees. */
const CAN_MOUNT =
  spawnSync('unshare', ['-Urm', 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', '/mnt']).status === 0;

async function filesBelow(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
}

describeBlobs('a folder', {
  open: () => blobs,
  isEmpty: async () => (await readdir(folder)).length === 0,
});

describe('blobs in a folder', () => {
  it.skipIf(process.platform === 'win32')('cannot be read by other users', async () => {
    await blobs.put('a/b', bytes(1));
    const mode = async (path: string) => (await stat(join(folder, 'blobs', path))).mode & 0o777;
    expect([await mode(''), await mode('a'), await mode('a/b')]).toEqual([0o700, 0o700, 0o600]);
  });

  it('are null when a folder or a file is in their place', async () => {
    await blobs.put('a/b', bytes(1));
    expect(await blobs.get('a')).toBeNull();
    expect(await blobs.get('a/b/c')).toBeNull();
  });

  it('are listed in the order of code units over all folders', async () => {
    const keys = ['a-b', 'a.b', 'a/b.c', 'a/b/c', 'a0', 'b/A', 'b/_', 'b/a'];
    for (const key of keys.toReversed()) await blobs.put(key, bytes(1));
    expect(await Array.fromAsync(blobs.list(''))).toEqual(keys.toSorted());
  });

  it('are listed without partial and foreign files', async () => {
    await blobs.put('images/img_1.png', bytes(1));
    await writeFile(join(blobs.folder, 'images', '.writing~0'), 'half');
    await writeFile(join(blobs.folder, 'images', 'img 3.png'), 'a foreign file');
    expect(await Array.fromAsync(blobs.list(''))).toEqual(['images/img_1.png']);
    expect(await filesBelow(folder)).toHaveLength(3);
  });
});

describe('a failed write', () => {
  it('leaves the old blob and no partial file when the file would be too large', async () => {
    await blobs.put('policies/p', bytes(1, 2, 3));
    // The shell limits the file size, in blocks of 512 or 1,024 bytes, and becomes the process.
    const script = `
      import { FileBlobs } from ${JSON.stringify(MODULE)};
      const blobs = new FileBlobs(process.argv[1]);
      await blobs.put('policies/p', new Uint8Array(1_000_000))
        .catch((error) => console.log(error.name, error.message));`;
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

  it.skipIf(!CAN_MOUNT)(
    'reports a full disk, leaves the old blob, and succeeds once there is room',
    async () => {
      // A file system of 256 KiB that only this process sees.
      const script = `
      import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
      import { FileBlobs } from ${JSON.stringify(MODULE)};
      const blobs = new FileBlobs(process.argv[1] + '/blobs');
      await blobs.put('policies/p', Uint8Array.of(1, 2, 3));
      writeFileSync(process.argv[1] + '/ballast', new Uint8Array(150_000));
      await blobs.put('policies/p', new Uint8Array(120_000))
        .catch((error) => console.log(error.name, error.message));
      await blobs.check().catch((error) => console.log(error.name));
      console.log(readdirSync(blobs.folder + '/policies'), [...readFileSync(blobs.folder + '/policies/p')]);
      rmSync(process.argv[1] + '/ballast');
      await blobs.put('policies/p', new Uint8Array(120_000));
      console.log((await blobs.get('policies/p')).length);`;
      const mounted = join(folder, 'small');
      await mkdir(mounted);
      const { stdout } = await promisify(execFile)('unshare', [
        '-Urm',
        '/bin/sh',
        '-c',
        'mount -t tmpfs -o size=256k none "$1" && shift && exec "$@"',
        'limited',
        mounted,
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        '--input-type=module',
        '-e',
        script,
        mounted,
      ]);
      const lines = stdout.trim().split('\n');
      expect(lines[0]).toMatch(
        /^StorageFullError The blob policies\/p can't be written below .*: there is no room .*ENOSPC/,
      );
      expect(lines.slice(-2)).toEqual(["[ 'p' ] [ 1, 2, 3 ]", '120000']);
    },
  );

  it('names the blob and the reason when a file is in place of a folder', async () => {
    await blobs.put('a', bytes(1));
    await expect(blobs.put('a/b', bytes(1))).rejects.toMatchObject({
      name: 'BlobStoreError',
      message: expect.stringMatching(/The blob a\/b can't be written below .*: (EEXIST|ENOTDIR)/),
    });
  });
});

describe('check', () => {
  it('creates the folder, writes and leaves no file', async () => {
    await blobs.check();
    expect(await filesBelow(folder)).toEqual([]);
    expect(await readdir(folder)).toEqual(['blobs']);
  });

  it('names the folder and the reason when it is not writable', async () => {
    await writeFile(join(folder, 'blobs'), 'a file in its place');
    await expect(blobs.check()).rejects.toMatchObject({
      name: 'BlobStoreError',
      message: expect.stringContaining(`The blob folder ${join(folder, 'blobs')} can't be written: `),
    });
  });
});

it('removeLeftovers removes old partial files of killed writers', async () => {
  await blobs.put('images/kept', bytes(1));
  await mkdir(join(blobs.folder, 'images'), { recursive: true });
  for (const name of ['.writing~old', '.writing~new'])
    await writeFile(join(blobs.folder, 'images', name), 'half');
  await utimes(join(blobs.folder, 'images', '.writing~old'), 1000, 1000);
  await utimes(join(blobs.folder, 'images', 'kept'), 1000, 1000);
  await blobs.removeLeftovers(2_000_000);
  expect((await filesBelow(folder)).sort()).toEqual(['.writing~new', 'kept']);
});
