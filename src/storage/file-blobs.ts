import { randomUUID } from 'node:crypto';
import { mkdir, open, opendir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
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

  async *list(prefix: string): AsyncGenerator<string> {
    checkPrefix(prefix);
    // Only the folder that the prefix names needs to be walked.
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    for await (const path of this.#walk(folder)) {
      if (path.startsWith(prefix) && path.split('/').every(isKeySegment)) yield path;
    }
  }

  async *entries(prefix: string): AsyncGenerator<BlobEntry> {
    for await (const key of this.list(prefix)) {
      const info = await stat(this.#path(key)).catch(() => null); // it may go meanwhile
      if (info?.isFile()) yield { key, bytes: info.size, modifiedAt: info.mtimeMs };
    }
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
      for await (const path of this.#walk('')) {
        if (!basename(path).startsWith(TEMPORARY)) continue;
        const file = join(this.folder, path);
        const written = await stat(file).catch(() => null);
        if (written && written.mtimeMs < before) await rm(file, { force: true });
      }
    });
  }

  /** Paths below the store's folder of the files in `folder` ('' or a path that ends in a slash) and in those below it, sorted. */
  async *#walk(folder: string): AsyncGenerator<string> {
    const names = await explain(`The blobs below ${this.folder} can't be listed`, () =>
      namesIn(join(this.folder, folder)),
    );
    for (const name of names) {
      if (name.endsWith('/')) yield* this.#walk(folder + name);
      else yield folder + name;
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

/** Names of the files and, with a slash behind, of the folders in `folder`, sorted as the paths are that begin with them. */
async function namesIn(folder: string): Promise<string[]> {
  const names: string[] = [];
  try {
    // One by one: there may be hundreds of thousands, and of each only its name is kept.
    for await (const entry of await opendir(folder, { bufferSize: 256 })) {
      if (entry.isFile()) names.push(entry.name);
      if (entry.isDirectory()) names.push(`${entry.name}/`);
    }
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
  return names.sort();
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
      throw new StorageFullError(`${what}: there is no room (${reason}). Make room and try again.`, {
        cause: error,
      });
    }
    throw new BlobStoreError(`${what}: ${reason}.`, { cause: error });
  }
}
