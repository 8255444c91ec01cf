import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { type Entry, type Options, open, type ZipFile } from 'yauzl';
import type { LibraryFile } from './library-folder.ts';

/** The libraries of a wheel that are needed: neither drop-in replacements of BLAS nor variants. */
const LIBRARIES = [
  /^nvidia\/.+\/lib\/(?!libnvblas)[\w+-]+\.so[\d.]*$/,
  /^onnxruntime\/capi\/libonnxruntime_providers_(cuda|shared)\.so$/,
];

/**
 * Unpacks the libraries of a wheel into one folder. A library appears under its name only when it
 * is complete and on the disk.
 * @throws Error when the wheel is damaged, holds no library, or the disk is full
 */
export async function unpackWheel(path: string, folder: string, stop: AbortSignal): Promise<LibraryFile[]> {
  const openArchive = promisify<string, Options, ZipFile>(open);
  const archive = await openArchive(path, { lazyEntries: true, autoClose: false });
  const openEntry = promisify<Entry, NodeJS.ReadableStream>(archive.openReadStream.bind(archive));
  try {
    const files: LibraryFile[] = [];
    for (const entry of await listEntries(archive))
      if (LIBRARIES.some((pattern) => pattern.test(entry.fileName)))
        files.push(await unpack(entry, await openEntry(entry), folder, stop));
    if (files.length === 0) throw new Error(`${basename(path)} holds no library.`);
    return files;
  } finally {
    archive.close();
  }
}

function listEntries(archive: ZipFile): Promise<Entry[]> {
  return new Promise((resolve, reject) => {
    const entries: Entry[] = [];
    archive.on('entry', (entry: Entry) => {
      entries.push(entry);
      archive.readEntry();
    });
    archive.once('end', () => resolve(entries));
    archive.once('error', reject);
    archive.readEntry();
  });
}

async function unpack(
  entry: Entry,
  source: NodeJS.ReadableStream,
  folder: string,
  stop: AbortSignal,
): Promise<LibraryFile> {
  const name = basename(entry.fileName);
  const part = join(folder, `${name}.part`);
  const hash = createHash('sha256');
  const hashing = new Transform({
    transform(chunk, _, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  try {
    await pipeline(source, hashing, createWriteStream(part, { flush: true, mode: 0o644 }), { signal: stop });
    await rename(part, join(folder, name));
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
  return { name, bytes: entry.uncompressedSize, sha256: hash.digest('hex') };
}

/** Hexadecimal SHA-256 of a file of any size. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 2 ** 20 }), hash);
  return hash.digest('hex');
}
