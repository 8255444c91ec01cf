import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import {
  type BlobEntry,
  type BlobStore,
  BlobStoreError,
  checkContent,
  checkKey,
  checkPrefix,
  type GetOptions,
  isKeySegment,
  StorageFullError,
} from './blobs.ts';

/** Starts the names of half-written files. `~` is not allowed in keys, so that no key can name one and `list` can tell. */
const TEMPORARY = '.writing~';

/**
 * Blobs as files of one folder; a key is the path below it. Writes go to a temporary file in the blob's own folder, which is
 * flushed and then renamed, so that a reader, a full disk or a crash meets the old blob or the new one, never a part.
 * Several processes may share the folder.
 */
export class FileBlobs implements BlobStore {
  /** Absolute path of the folder; it is made on the first write. */
  readonly folder: string;

  constructor(folder: string) {
    this.folder = resolve(folder);
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    const path = this.#path(key);
    await explain(`The blob ${key} can't be written below ${this.folder}`, async () => {
      await makeFolder(dirname(path));
      await writeWhole(path, bytes);
    });
  }

  async get(key: string, { sha256 }: GetOptions = {}): Promise<Uint8Array | null> {
    const path = this.#path(key);
    const bytes = await explain(`The blob ${key} can't be read below ${this.folder}`, async () => {
      try {
        return await readFile(path);
      } catch (error) {
        if (isAbsent(error)) return null;
        throw error;
      }
    });
    if (bytes) checkContent(key, bytes, sha256);
    return bytes;
  }

  async delete(key: string): Promise<void> {
    const path = this.#path(key);
    await explain(`The blob ${key} can't be deleted below ${this.folder}`, async () => {
      try {
        await rm(path);
      } catch (error) {
        if (isAbsent(error)) return;
        throw error;
      }
      await flushFolder(dirname(path));
    });
  }

  async list(prefix: string): Promise<string[]> {
    checkPrefix(prefix);
    // Only the folder that the prefix names needs to be walked.
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    const keys: string[] = [];
    await explain(`The blobs below ${this.folder} can't be listed`, () => this.#collect(folder, prefix, keys));
    return keys.sort();
  }

  async entries(prefix: string): Promise<BlobEntry[]> {
    const found: BlobEntry[] = [];
    for (const key of await this.list(prefix)) {
      const info = await stat(this.#path(key)).catch(() => null); // it may go meanwhile
      if (info?.isFile()) found.push({ key, bytes: info.size, modifiedAt: info.mtimeMs });
    }
    return found;
  }

  async check(): Promise<void> {
    await explain(`The blob folder ${this.folder} can't be written`, async () => {
      await makeFolder(this.folder);
      const probe = temporaryPath(this.folder);
      try {
        await writeFlushed(probe, new Uint8Array(1));
      } finally {
        await rm(probe, { force: true });
      }
    });
  }

  async removeLeftovers(before: number): Promise<void> {
    await explain(`Leftovers below ${this.folder} can't be removed`, async () => {
      for (const entry of await readEntries(this.folder, true)) {
        if (!entry.isFile() || !entry.name.startsWith(TEMPORARY)) continue;
        const path = join(entry.parentPath, entry.name);
        const written = await stat(path).catch(() => null);
        if (written && written.mtimeMs < before) await rm(path, { force: true });
      }
    });
  }

  async #collect(folder: string, prefix: string, keys: string[]): Promise<void> {
    for (const entry of await readEntries(join(this.folder, folder), false)) {
      if (!isKeySegment(entry.name)) continue;
      const key = folder + entry.name;
      if (entry.isFile() && key.startsWith(prefix)) keys.push(key);
      if (entry.isDirectory() && `${key}/`.startsWith(prefix)) await this.#collect(`${key}/`, prefix, keys);
    }
  }

  #path(key: string): string {
    checkKey(key);
    return join(this.folder, ...key.split('/'));
  }
}

async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const folder = dirname(path);
  const temporary = temporaryPath(folder);
  try {
    await writeFlushed(temporary, bytes);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await flushFolder(folder);
}

async function writeFlushed(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

function temporaryPath(folder: string): string {
  return join(folder, TEMPORARY + randomUUID());
}

/** Makes `folder` and flushes the folders in which a new entry appeared, so that it outlives a crash of the machine. */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true });
  if (first === undefined) return;
  const top = dirname(first);
  for (let parent = dirname(folder); ; parent = dirname(parent)) {
    await flushFolder(parent);
    if (parent === top || parent === dirname(parent)) return;
  }
}

async function flushFolder(folder: string): Promise<void> {
  // Windows can't open folders; there a rename is as durable as the file system makes it.
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function readEntries(folder: string, recursive: boolean) {
  try {
    return await readdir(folder, { withFileTypes: true, recursive });
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

/** Whether the system says that no file is there: nothing at all, a folder, or a file where a folder would have to be. */
function isAbsent(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR' || code === 'ERR_FS_EISDIR';
}

async function explain<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      throw new StorageFullError(`${what}: there is no room (${reason}). Make room and try again.`, { cause: error });
    }
    throw new BlobStoreError(`${what}: ${reason}.`, { cause: error });
  }
}
