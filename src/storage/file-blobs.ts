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

/** Start of the names of partial files. Keys have no `~`, so no blob has such a name. */
const TEMPORARY_PREFIX = '.writing~';

/**
 * Blobs as files in a folder; the key is the path below it. A write goes to a temporary file beside
 * the blob, which is flushed and then renamed. So a reader finds the old blob or the new one, never
 * a part, also after a crash or on a full disk. Several processes of one user may share the folder;
 * other users can read neither folders nor files.
 */
export class FileBlobs implements BlobStore {
  /** Absolute path. The first write creates the folder. */
  readonly folder: string;

  constructor(folder: string) {
    this.folder = resolve(folder);
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    const path = this.#path(key);
    await wrapErrors(`The blob ${key} can't be written below ${this.folder}`, async () => {
      await makeFolder(dirname(path));
      await writeWhole(path, bytes);
    });
  }

  async get(key: string, { sha256 }: GetOptions = {}): Promise<Uint8Array | null> {
    const path = this.#path(key);
    const bytes = await wrapErrors(`The blob ${key} can't be read below ${this.folder}`, async () => {
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
    await wrapErrors(`The blob ${key} can't be deleted below ${this.folder}`, async () => {
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
    // Only the folder of the prefix has to be walked.
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    for await (const path of this.#walk(folder)) {
      if (path.startsWith(prefix) && path.split('/').every(isKeySegment)) yield path;
    }
  }

  async *entries(prefix: string): AsyncGenerator<BlobEntry> {
    for await (const key of this.list(prefix)) {
      const info = await stat(this.#path(key)).catch(() => null); // it may have been deleted meanwhile
      if (info?.isFile()) yield { key, bytes: info.size, modifiedAt: info.mtimeMs };
    }
  }

  async check(): Promise<void> {
    await wrapErrors(`The blob folder ${this.folder} can't be written`, async () => {
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
    await wrapErrors(`Leftovers below ${this.folder} can't be removed`, async () => {
      for await (const path of this.#walk('')) {
        if (!basename(path).startsWith(TEMPORARY_PREFIX)) continue;
        const file = join(this.folder, path);
        const written = await stat(file).catch(() => null);
        if (written && written.mtimeMs < before) await rm(file, { force: true });
      }
    });
  }

  /**
   * Paths of the files in `folder` and in the folders below it, sorted, relative to the store's
   * folder.
   * @param folder '' or a path that ends in a slash
   */
  async *#walk(folder: string): AsyncGenerator<string> {
    const names = await wrapErrors(`The blobs below ${this.folder} can't be listed`, () =>
      sortedNames(join(this.folder, folder)),
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
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

function temporaryPath(folder: string): string {
  return join(folder, TEMPORARY_PREFIX + randomUUID());
}

/**
 * Creates `folder` and flushes every folder that got a new entry, so that it survives a crash of
 * the machine.
 */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  const top = dirname(first);
  for (let parent = dirname(folder); ; parent = dirname(parent)) {
    await flushFolder(parent);
    if (parent === top || parent === dirname(parent)) return;
  }
}

async function flushFolder(folder: string): Promise<void> {
  // Windows can't open folders. There the file system decides how durable a rename is.
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Names of the files and folders in `folder`. Folders end in a slash, so that names sort like the
 * paths that begin with them.
 */
async function sortedNames(folder: string): Promise<string[]> {
  const names: string[] = [];
  try {
    // Read one by one: a folder may have hundreds of thousands of entries, and only names are
    // needed.
    for await (const entry of await opendir(folder, { bufferSize: 256 })) {
      if (entry.isFile()) names.push(entry.name);
      if (entry.isDirectory()) names.push(`${entry.name}/`);
    }
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
  return names.sort();
}

/**
 * Whether the error means that there is no such file: nothing, a folder, or a file in place of a
 * parent folder.
 */
function isAbsent(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR' || code === 'ERR_FS_EISDIR';
}

/**
 * Runs `action`.
 * @param what start of the error's message: what could not be done
 * @throws StorageFullError, BlobStoreError
 */
async function wrapErrors<T>(what: string, action: () => Promise<T>): Promise<T> {
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
