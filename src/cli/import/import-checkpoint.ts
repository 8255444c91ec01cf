import { spawn } from 'node:child_process';
import { mkdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Config } from '../../config/config.ts';
import { checkBundle } from '../models/check.ts';
import { nameOf, newBundleFolder } from '../models/new-bundle.ts';
import { ensureEnvironment } from './python-environment.ts';

const TOOLS = join(import.meta.dirname, '..', '..', '..', 'tools', 'export');

export interface ImportOptions {
  /** Checkpoint file, or folder of a diffusers pipeline. */
  readonly source: string;
  /** Name of the model; null: that of the file. */
  readonly name: string | null;
  /** Options of `tools/export/import_checkpoint.py`, as they are. */
  readonly more: readonly string[];
  /** Program of a Python that makes the importer's environment. */
  readonly python: string;
  /** Folder of wheels to use instead of the package index, or null. */
  readonly wheels: string | null;
  readonly stop: AbortSignal;
  readonly print: (line: string) => void;
}

/**
 * Turns a checkpoint into a bundle in the first models folder, and checks it. Services see the
 * complete bundle or nothing. The importer says itself why it refuses a file.
 * @returns exit status: that of the importer, or of the check
 * @throws Error that says what to do
 */
export async function importCheckpoint(config: Config, options: ImportOptions): Promise<number> {
  const { source, python, wheels, stop, print } = options;
  const path = resolve(source);
  if (!(await stat(path).catch(() => null))) throw new Error(`${path} does not exist; check the path.`);
  const target = newBundleFolder(config, options.name ?? nameOf(path));
  const program = await ensureEnvironment({
    folder: join(config.dataFolder, 'python'),
    requirements: join(TOOLS, 'requirements.txt'),
    python,
    wheels: wheels === null ? null : resolve(wheels),
    stop,
    print,
  });
  await mkdir(dirname(target), { recursive: true });
  const args = [join(TOOLS, 'import_checkpoint.py'), path, target, ...options.more];
  const status = await runImporter(program, args, stop);
  if (status !== 0) return status;
  return checkBundle(config, target, print);
}

/** The importer writes to this process's output, with its progress bars. */
function runImporter(program: string, args: readonly string[], stop: AbortSignal): Promise<number> {
  return new Promise((resolveStatus, reject) => {
    const env = { ...process.env, PYTHONUNBUFFERED: '1' };
    const child = spawn(program, args, { stdio: 'inherit', env });
    const interrupt = () => child.kill('SIGINT');
    stop.addEventListener('abort', interrupt, { once: true });
    child.once('error', reject);
    child.once('close', (code) => {
      stop.removeEventListener('abort', interrupt);
      resolveStatus(code ?? 1);
    });
  });
}
