import { readdir, realpath, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { BundleError } from './files.ts';

/** The files of a bundle at one moment. */
export interface FolderListing {
  /** Changes if a file is added, removed or written to. */
  readonly signature: string;
  /** Bytes of all files. */
  readonly bytes: number;
}

/**
 * Lists every file below `folder`; links are followed.
 * @param roots folders that links may lead into: the models folders
 * @throws BundleError if a link leads elsewhere or to nothing
 */
export async function listFolder(folder: string, roots: readonly string[]): Promise<FolderListing> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  const parts: string[] = [];
  let bytes = 0;
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isSymbolicLink()) await checkLink(path, folder, roots);
    const file = await stat(path).catch(() => null);
    if (!file?.isFile()) continue;
    bytes += file.size;
    parts.push(`${relative(folder, path)}:${file.size}:${file.mtimeMs}:${file.ino}`);
  }
  return { signature: parts.sort().join('\n'), bytes };
}

/** Links must not expose files outside of the models folders. */
async function checkLink(path: string, folder: string, roots: readonly string[]): Promise<void> {
  const target = await realpath(path).catch(() => null);
  const name = relative(folder, path) || path;
  if (target === null) throw new BundleError(`${name} is a link to nothing; copy the file itself`);
  if (roots.some((root) => isInside(target, root))) return;
  throw new BundleError(
    `${name} is a link to ${target}, outside of the models folders; copy the bundle with ` +
      '`findery models add`, which takes the files themselves, or put that folder into FINDERY_MODELS',
  );
}

/** Whether `path` is `folder` or lies below it; both absolute. */
export function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}
