import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sha256Of } from '../../sha256.ts';
import { explainFailure } from '../gpu/pip.ts';
import { withPidFile } from '../pid-file.ts';

/** Versions of Python for which the importer's packages exist. */
const OLDEST_PYTHON: readonly [number, number] = [3, 10];
/** Output of pip that is kept to explain a failure, in characters. */
const KEPT_OUTPUT = 20_000;

export interface EnvironmentOptions {
  /** Folder of all environments. */
  readonly folder: string;
  /** Path of the file with the pinned packages. */
  readonly requirements: string;
  /** Program of a Python that makes the environment. */
  readonly python: string;
  /** Folder of wheels to use instead of the package index; null: the index of pip's settings. */
  readonly wheels: string | null;
  readonly stop: AbortSignal;
  readonly print: (line: string) => void;
}

/**
 * Finds or makes the Python environment with the packages that `requirements` pins. An environment
 * is made once for each version of that file; one whose installation was interrupted is completed.
 * @returns path of its Python
 * @throws Error that says what is missing and how to get it
 */
export async function ensureEnvironment(options: EnvironmentOptions): Promise<string> {
  const { folder, requirements, python, print } = options;
  const version = await pythonVersion(python);
  const key = sha256Of(`${version} ${await readFile(requirements, 'utf8')}`).slice(0, 12);
  const environment = join(folder, key);
  const program = join(environment, 'bin', 'python');
  const complete = join(environment, 'complete');
  if (existsSync(complete)) return program;
  await mkdir(environment, { recursive: true });
  await withPidFile(`${environment}.pid`, 'findery import', async () => {
    print(`The importer's Python packages are installed into ${environment}. This happens once.`);
    if (!existsSync(program)) await createEnvironment(python, environment);
    await installPackages(program, options);
    await writeFile(complete, `${version}\n`);
  });
  return program;
}

/** @throws Error if there is no such program, or its version is too old */
async function pythonVersion(python: string): Promise<string> {
  let version: string;
  try {
    const { stdout } = await promisify(execFile)(
      python,
      ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])'],
      { timeout: 60_000 },
    );
    version = stdout.trim();
  } catch {
    throw new Error(
      `Imports need Python, and there is no program "${python}". Install it (Debian, Ubuntu: apt-get ` +
        'install python3-venv; Fedora: dnf install python3), or name another one with --python PROGRAM.',
    );
  }
  const [major, minor] = version.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_PYTHON;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return version;
  throw new Error(
    `${python} is Python ${version}; imports need ${OLDEST_PYTHON.join('.')} or later. Name another one ` +
      'with --python PROGRAM.',
  );
}

async function createEnvironment(python: string, environment: string): Promise<void> {
  try {
    await promisify(execFile)(python, ['-m', 'venv', environment], { timeout: 300_000 });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    const output = `${stdout}${stderr}`;
    const reason = /ensurepip|No module named venv/.test(output)
      ? `${python} can't make environments: its module venv is not complete (Debian, Ubuntu: apt-get ` +
        'install python3-venv)'
      : `"${python} -m venv" failed: ${output.trim().split('\n').at(-1)}`;
    throw new Error(`${reason}. Or name another Python with --python PROGRAM.`);
  }
}

async function installPackages(
  program: string,
  { requirements, wheels, stop }: EnvironmentOptions,
): Promise<void> {
  stop.throwIfAborted();
  const source = wheels === null ? [] : ['--no-index', '--find-links', wheels];
  const args = ['-m', 'pip', 'install', '--requirement', requirements, ...source];
  const { code, output } = await runShown(program, args, stop);
  if (stop.aborted) throw new Error('Interrupted. The same command goes on where it stopped.');
  if (code !== 0) throw new Error(explainFailure('the packages of the importer', output));
}

/** Runs pip. Its output is shown as it comes, on standard error. */
function runShown(
  program: string,
  args: readonly string[],
  stop: AbortSignal,
): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { ...process.env, PIP_DISABLE_PIP_VERSION_CHECK: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        process.stderr.write(chunk);
        output = (output + chunk.toString('utf8')).slice(-KEPT_OUTPUT);
      });
    const kill = () => child.kill();
    stop.addEventListener('abort', kill, { once: true });
    child.once('error', reject);
    child.once('close', (code) => {
      stop.removeEventListener('abort', kill);
      resolve({ code, output });
    });
  });
}
