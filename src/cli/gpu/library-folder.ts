import { readFile, readlink, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type Config, gpuFolder } from '../../config/config.ts';
import { readWheels, type Wheel } from './wheels.ts';

/** A library that was unpacked from a wheel. */
export interface LibraryFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** What was unpacked, by the name of the wheel. It is replaced as a whole after each wheel. */
export interface Manifest {
  readonly [wheel: string]: { readonly sha256: string; readonly files: readonly LibraryFile[] };
}

/** The library that looks for its providers beside itself. */
const RUNTIME = 'libonnxruntime.so.1';

const PACKAGE = createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
const INSTALLED_RUNTIME = join(dirname(PACKAGE), 'bin', 'napi-v6', 'linux', 'x64', RUNTIME);

/** Version of the installed onnxruntime-node. */
export async function onnxRuntimeVersion(): Promise<string> {
  return (JSON.parse(await readFile(PACKAGE, 'utf8')) as { version: string }).version;
}

/** Whether CUDA's libraries exist for this machine: Linux on x64. */
export function isSupportedPlatform(): boolean {
  return process.platform === 'linux' && process.arch === 'x64';
}

/**
 * The folder of the libraries for the installed version of ONNX Runtime. `lib` in it holds the
 * libraries and a link to onnxruntime-node's libonnxruntime.so.1.
 *
 * With `lib` in LD_LIBRARY_PATH the dynamic linker finds libonnxruntime.so.1 there before it looks
 * beside onnxruntime-node's addon, and ONNX Runtime then loads its providers from the same folder.
 * So nothing is written to node_modules, and `npm ci` removes nothing.
 */
export async function libraryFolder(config: Config): Promise<string> {
  return join(gpuFolder(config), `onnxruntime-${await onnxRuntimeVersion()}`);
}

/** The subfolder that is put into LD_LIBRARY_PATH. */
export function libraries(folder: string): string {
  return join(folder, 'lib');
}

/** What was unpacked into a folder so far; nothing when the file is missing or damaged. */
export async function readManifest(folder: string): Promise<Manifest> {
  try {
    return JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'));
  } catch {
    return {};
  }
}

/** Replaces the manifest of a folder. */
export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  const path = join(folder, 'manifest.json');
  await writeFile(`${path}.part`, `${JSON.stringify(manifest, null, 2)}\n`);
  await rename(`${path}.part`, path);
}

/**
 * Compares a folder with the pinned wheels, by the presence and size of each file.
 * @returns why the libraries can't be used; null if they are complete
 */
export async function findLibraryProblem(folder: string, wheels: readonly Wheel[]): Promise<string | null> {
  const manifest = await readManifest(folder);
  if (Object.keys(manifest).length === 0) return 'the CUDA libraries are not installed';
  for (const { name, version, sha256 } of wheels) {
    if (manifest[name]?.sha256 !== sha256)
      return `the CUDA libraries are incomplete: ${name} ${version} is missing`;
    for (const file of manifest[name].files) {
      const found = await stat(join(libraries(folder), file.name)).catch(() => null);
      if (found === null) return `the CUDA libraries are incomplete: ${file.name} is missing`;
      if (found.size !== file.bytes)
        return `${file.name} is damaged: it has ${found.size} bytes instead of ${file.bytes}`;
    }
  }
  return null;
}

/**
 * Links onnxruntime-node's libonnxruntime.so.1 into the folder. A link to another installation is
 * replaced.
 */
export async function linkRuntime(folder: string): Promise<void> {
  const path = join(libraries(folder), RUNTIME);
  if ((await readlink(path).catch(() => null)) === INSTALLED_RUNTIME) return;
  const temporary = `${path}.${process.pid}.part`;
  await rm(temporary, { force: true });
  await symlink(INSTALLED_RUNTIME, temporary);
  await rename(temporary, path);
}

/**
 * The environment in which a process finds the CUDA libraries. It has to be set when the process
 * starts, because the dynamic linker reads LD_LIBRARY_PATH only then.
 * @returns null if the libraries are not complete, the configuration does not name CUDA, or the
 *   environment has them already
 */
export async function libraryEnvironment(
  config: Config,
  environment: NodeJS.ProcessEnv,
): Promise<NodeJS.ProcessEnv | null> {
  if (!isSupportedPlatform()) return null;
  if (!config.executionProviders.includes('cuda')) return null;
  const folder = await libraryFolder(config);
  if ((await findLibraryProblem(folder, await readWheels())) !== null) return null;
  const path = environment.LD_LIBRARY_PATH;
  if (path?.split(':')[0] === libraries(folder)) return null;
  await linkRuntime(folder).catch((error: Error) => {
    throw new Error(
      `${libraries(folder)} can't be linked to this installation of onnxruntime-node: ${error.message}. ` +
        'Run findery gpu setup as a user that may write there.',
    );
  });
  return { ...environment, LD_LIBRARY_PATH: [libraries(folder), path].filter(Boolean).join(':') };
}

/**
 * Starts this process again, under the same number, when its configuration needs the CUDA libraries
 * and its environment lacks them. A child with an IPC channel is left alone: a new start would lose
 * the channel, and its parent sets the environment.
 */
export async function restartWithLibraries(config: Config): Promise<void> {
  if (process.send || !process.execve) return;
  const environment = await libraryEnvironment(config, process.env);
  if (environment === null) return;
  const args = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  process.execve(process.execPath, args, environment);
}
