import { mkdir, readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { withPidFile } from '../pid-file.ts';
import { formatBytes } from '../table.ts';
import { libraries, linkRuntime, type Manifest, readManifest, writeManifest } from './library-folder.ts';
import { checkPip, downloadWheel, type WheelSource } from './pip.ts';
import { hashFile, unpackWheel } from './unpack-wheel.ts';
import type { Wheel } from './wheels.ts';

export interface SetupOptions {
  /** Folder of the libraries, for one version of ONNX Runtime. */
  readonly folder: string;
  readonly wheels: readonly Wheel[];
  readonly source: WheelSource;
  /** Whether only sizes are printed. */
  readonly isDry: boolean;
  readonly stop: AbortSignal;
  readonly print: (line: string) => void;
  /** Called while a wheel is downloaded. */
  readonly onProgress?: (wheel: Wheel, bytes: number) => void;
}

/**
 * Fetches the CUDA libraries. Wheels that were unpacked and are undamaged stay, and a wheel that
 * was downloaded completely is not downloaded again. After a failure the folder holds no partial
 * file under the name of a library.
 * @throws Error that says what went wrong and what to do; with a full disk, before the download if
 *   the space is known to be too small
 */
export async function setUpLibraries(options: SetupOptions): Promise<void> {
  const { folder, wheels, source, isDry, stop, print } = options;
  const manifest = { ...(await readManifest(folder)) };
  const missing = await findMissing(folder, wheels, manifest, print);
  const count = `${missing.length} of ${wheels.length} wheels`;
  const download = sum(missing.map(({ bytes }) => bytes));
  const space = sum(missing.map(({ unpackedBytes }) => unpackedBytes));
  print(
    missing.length === 0
      ? `All ${wheels.length} wheels are there and undamaged, in ${folder}.`
      : `${count} have to be fetched: ${formatBytes(download)} to download, ` +
          `${formatBytes(space)} in ${folder}.`,
  );
  for (const { name, version, bytes, unpackedBytes } of missing)
    print(
      `  ${`${name} ${version}`.padEnd(30)} ${formatBytes(bytes)}, unpacked ${formatBytes(unpackedBytes)}`,
    );
  if (isDry) return;
  try {
    await mkdir(libraries(folder), { recursive: true });
    await withPidFile(join(folder, 'setup.pid'), 'findery gpu setup', async () => {
      await removePartialFiles(libraries(folder));
      if (missing.length > 0) {
        await checkPip(source.python);
        await checkSpace(folder, missing);
      }
      for (const wheel of missing) await addWheel(wheel, manifest, options);
      await linkRuntime(folder);
    });
    await rm(join(folder, 'downloads'), { recursive: true, force: true });
  } catch (error) {
    if (stop.aborted)
      throw new Error('Interrupted. findery gpu setup goes on where it stopped.', { cause: error });
    throw explainError(error as NodeJS.ErrnoException, folder);
  }
}

/** The wheels whose libraries are not in the folder, or damaged there. */
async function findMissing(
  folder: string,
  wheels: readonly Wheel[],
  manifest: Manifest,
  print: (line: string) => void,
): Promise<Wheel[]> {
  const missing: Wheel[] = [];
  for (const wheel of wheels) {
    const unpacked = manifest[wheel.name];
    if (unpacked?.sha256 !== wheel.sha256) {
      missing.push(wheel);
      continue;
    }
    for (const { name, sha256 } of unpacked.files) {
      const path = join(libraries(folder), name);
      if ((await stat(path).catch(() => null)) !== null && (await hashFile(path)) === sha256) continue;
      print(`${name} is missing or damaged; ${wheel.name} is fetched again.`);
      missing.push(wheel);
      break;
    }
  }
  return missing;
}

async function addWheel(
  wheel: Wheel,
  manifest: { [name: string]: Manifest[string] },
  { folder, source, stop, print, onProgress }: SetupOptions,
): Promise<void> {
  const downloads = join(folder, 'downloads');
  let path = await findDownload(wheel, downloads);
  if (path === null) {
    try {
      await downloadWheel(wheel, downloads, source, stop, (bytes) => onProgress?.(wheel, bytes));
    } catch (error) {
      await findDownload(wheel, downloads); // removes what pip has copied of it
      throw error;
    }
    path = await findDownload(wheel, downloads);
    if (path === null)
      throw new Error(`pip fetched ${wheel.name} ${wheel.version}, but not to ${downloads}.`);
    onProgress?.(wheel, wheel.bytes);
  }
  stop.throwIfAborted();
  const files = await unpackWheel(path, libraries(folder), stop);
  manifest[wheel.name] = { sha256: wheel.sha256, files };
  await writeManifest(folder, manifest);
  await rm(path);
  print(`${wheel.name} ${wheel.version}: ${files.map(({ name }) => name).join(', ')}`);
}

/** Path of a wheel that was downloaded completely; null if there is none. Removes a partial one. */
async function findDownload({ name, version, sha256 }: Wheel, folder: string): Promise<string | null> {
  const prefix = `${name.replaceAll('-', '_')}-${version}-`;
  for (const file of await readdir(folder).catch(() => [])) {
    if (!file.startsWith(prefix) || !file.endsWith('.whl')) continue;
    const path = join(folder, file);
    if ((await hashFile(path)) === sha256) return path;
    await rm(path);
  }
  return null;
}

async function removePartialFiles(folder: string): Promise<void> {
  for (const file of await readdir(folder))
    if (file.endsWith('.part')) await rm(join(folder, file), { force: true });
}

/** pip holds a wheel twice for a moment: in its temporary folder and where it copies it to. */
async function checkSpace(folder: string, missing: readonly Wheel[]): Promise<void> {
  const needed =
    sum(missing.map(({ unpackedBytes }) => unpackedBytes)) +
    2 * Math.max(...missing.map(({ bytes }) => bytes));
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < needed)
    throw new Error(
      `${folder} has ${formatBytes(bavail * bsize)} of free space, and ${formatBytes(needed)} are needed ` +
        'during the set-up. Free some, or name a folder on another disk with FINDERY_GPU_LIBRARIES.',
    );
}

function explainError(error: NodeJS.ErrnoException, folder: string): Error {
  if (
    error.code === 'ENOSPC' ||
    error.code === 'EDQUOT' ||
    /no space is left on the disk/.test(error.message)
  )
    return new Error(
      `The disk of ${folder} is full. Free some space, or name a folder on another disk with ` +
        'FINDERY_GPU_LIBRARIES. findery gpu setup goes on where it stopped.',
      { cause: error },
    );
  if (error.code === 'EACCES' || error.code === 'EROFS' || error.code === 'EPERM')
    return new Error(
      `${folder} can't be written to (${error.code}). Run the command as its owner, or name another ` +
        'folder with FINDERY_GPU_LIBRARIES.',
      { cause: error },
    );
  return error;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
