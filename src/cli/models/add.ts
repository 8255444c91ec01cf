import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, realpath, rename, rm, stat, statfs } from 'node:fs/promises';
import { basename, extname, join, relative, resolve } from 'node:path';
import { Presets, SingleBar } from 'cli-progress';
import { isInside } from '../../bundles/folder.ts';
import { type Config, EMBEDDED_MODELS } from '../../config/config.ts';
import { formatBytes } from '../table.ts';
import { checkBundle } from './check.ts';
import type { Print } from './list.ts';
import { nameOf, newBundleFolder } from './new-bundle.ts';

/** Extensions of files that have to be converted to a bundle. */
const CHECKPOINT_EXTENSIONS = ['.safetensors', '.ckpt', '.pt', '.pth', '.bin'];

/**
 * `findery models add`: copies a bundle to the first models folder. Services see the complete
 * bundle or nothing.
 * @param path folder of the bundle
 * @param name name under which it is installed
 * @param isChecked whether `checkBundle` has to pass first
 * @param stop interrupts the copy and removes what was copied
 * @returns exit status: 0, or 1 if the check failed
 * @throws Error when the bundle can't be copied; the message says what to do
 */
export async function addBundle(
  config: Config,
  path: string,
  {
    name = basename(resolve(path)),
    isChecked,
    stop,
  }: { name?: string; isChecked: boolean; stop: AbortSignal },
  print: Print,
): Promise<number> {
  const source = await sourceFolder(path, config);
  const [folder] = config.modelFolders;
  const target = newBundleFolder(config, name);
  if (isChecked && (await checkBundle(config, source, print)) !== 0) return 1;
  await mkdir(folder, { recursive: true });
  if (isInside(await realpath(folder), source))
    throw new Error(`${folder} is inside ${source}; a folder can't be copied into itself.`);
  const unfinished = join(folder, `.${name}.adding`);
  await rm(unfinished, { recursive: true, force: true });
  try {
    await copy(source, unfinished, stop);
    await rename(unfinished, target);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    if (stop.aborted) throw new Error(`Interrupted; ${target} was not created.`);
    throw new Error(`${target} was not created: ${reason(error as NodeJS.ErrnoException, folder)}`);
  }
  print(`${name} is in ${target}; running services can use it now.`);
  return 0;
}

/** @throws Error when the path is not a folder, or is in a models folder already */
async function sourceFolder(path: string, { modelFolders }: Config): Promise<string> {
  const file = await stat(path).catch(() => null);
  if (!file) throw new Error(`${resolve(path)} does not exist; check the path.`);
  if (file.isFile() && CHECKPOINT_EXTENSIONS.includes(extname(path).toLowerCase())) {
    throw new Error(`${path} is a checkpoint. Import it: findery import ${path} --name ${nameOf(path)}`);
  }
  if (!file.isDirectory()) throw new Error(`${resolve(path)} is not a folder; give the folder of a bundle.`);
  const source = await realpath(path);
  for (const folder of modelFolders.filter((each) => each !== EMBEDDED_MODELS && existsSync(each))) {
    if (isInside(source, await realpath(folder)))
      throw new Error(
        `${source} is in a models folder already; services use it from there (findery models list).`,
      );
  }
  return source;
}

/** Copies every file. Links are replaced by their targets, so the copy is complete. */
async function copy(source: string, target: string, stop: AbortSignal): Promise<void> {
  const files: { from: string; to: string; bytes: number }[] = [];
  const visit = async (folder: string) => {
    for (const entry of await readdir(folder)) {
      if (entry.startsWith('.')) continue;
      const from = join(folder, entry);
      const found = await stat(from);
      if (found.isDirectory()) await visit(from);
      else if (found.isFile())
        files.push({ from, to: join(target, relative(source, from)), bytes: found.size });
    }
  };
  await visit(source);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  await mkdir(target, { recursive: true });
  const { bavail, bsize } = await statfs(target);
  if (bavail * bsize < bytes)
    throw new Error(
      `it needs ${formatBytes(bytes)}, and the disk has ${formatBytes(bavail * bsize)} left. ` +
        'Free some space, or name a folder on another disk in FINDERY_MODELS.',
    );
  const bar = new SingleBar(
    { format: '  {bar} {percentage}% | {file}', hideCursor: true },
    Presets.shades_classic,
  );
  bar.start(bytes, 0, { file: '' });
  try {
    for (const { from, to, bytes: size } of files) {
      stop.throwIfAborted();
      bar.update({ file: relative(source, from) });
      await mkdir(join(to, '..'), { recursive: true });
      await copyFile(from, to);
      bar.increment(size);
    }
  } finally {
    bar.stop();
  }
}

function reason(error: NodeJS.ErrnoException, folder: string): string {
  if (error.code === 'ENOSPC' || error.code === 'EDQUOT' || error.code === 'EFBIG')
    return (
      `the disk of ${folder} is full. Free some space and run the command again; ` +
      'the files copied so far were removed.'
    );
  if (error.code === 'EACCES' || error.code === 'EROFS' || error.code === 'EPERM')
    return `${folder} can't be written (${error.code}); choose another folder in FINDERY_MODELS.`;
  return error.message;
}
