import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findLibraryProblem, isSupportedPlatform, libraries } from '../../../src/cli/gpu/library-folder.ts';
import { type SetupOptions, setUpLibraries } from '../../../src/cli/gpu/setup.ts';
import { HAS_PIP, makeWheel } from '../../support/wheels.ts';

let root: string;
/** The folder of the libraries. */
let folder: string;
/** The folder that stands for the package index. */
let source: string;
let lines: string[];
let wheels: ReturnType<typeof makeWheel>[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'findery-gpu-'));
  folder = join(root, 'gpu', 'onnxruntime-1.30.0');
  source = join(root, 'index');
  lines = [];
  wheels = HAS_PIP
    ? [
        makeWheel(source, 'nvidia-cudart', '13.0.1', {
          'nvidia/cu13/lib/libcudart.so.13': 'cudart',
          'nvidia/cu13/lib/libnvblas.so.13': 'not needed',
          'nvidia/cu13/include/cuda.h': 'not a library',
        }),
        makeWheel(source, 'onnxruntime-gpu', '1.30.0', {
          'onnxruntime/capi/libonnxruntime_providers_cuda.so': 'provider',
          'onnxruntime/capi/libonnxruntime_providers_shared.so': 'shared',
          'onnxruntime/capi/libonnxruntime_providers_tensorrt.so': 'not needed',
          'onnxruntime/capi/libonnxruntime.so.1.30.0': 'not needed',
        }),
      ]
    : [];
});
afterEach(() => rm(root, { recursive: true, force: true }));

const setUp = (changes: Partial<SetupOptions> = {}) =>
  setUpLibraries({
    folder,
    wheels,
    source: { python: 'python3', wheels: source },
    isDry: false,
    stop: new AbortController().signal,
    print: (line) => lines.push(line),
    ...changes,
  });
const unpacked = () => readdirSync(libraries(folder)).sort();
const LIBRARIES = [
  'libcudart.so.13',
  'libonnxruntime.so.1',
  'libonnxruntime_providers_cuda.so',
  'libonnxruntime_providers_shared.so',
];
/** A program that answers `--version` as Python's pip, and fails with half of a wheel written. */
function fakePython(message: string): string {
  const path = join(root, 'python');
  writeFileSync(
    path,
    `#!/bin/sh
[ "$3" = --version ] && exit 0
for argument; do
  [ "$last" = --dest ] && echo half >"$argument/a-1-py3-none-any.whl"
  last=$argument
done
echo "${message}" >&2
exit 1
`,
  );
  chmodSync(path, 0o755);
  return path;
}

describe.skipIf(!HAS_PIP || !isSupportedPlatform())('setUpLibraries', () => {
  it('says the sizes first, fetches the wheels, and unpacks only the libraries that are needed', async () => {
    const progress: number[] = [];
    await setUp({ onProgress: (_, bytes) => progress.push(bytes) });
    expect(lines[0]).toMatch(/^2 of 2 wheels have to be fetched: .*kB to download/);
    expect(lines[1]).toMatch(/nvidia-cudart 13\.0\.1 .*unpacked/);
    expect(unpacked()).toEqual(LIBRARIES);
    expect(readFileSync(join(libraries(folder), 'libcudart.so.13'), 'utf8')).toBe('cudart');
    expect(readdirSync(folder).sort()).toEqual(['lib', 'manifest.json']);
    expect(await findLibraryProblem(folder, wheels)).toBeNull();
    expect(progress).toEqual(expect.arrayContaining(wheels.map(({ bytes }) => bytes)));
  });

  it('prints the sizes and fetches nothing in a dry run', async () => {
    await setUp({ isDry: true });
    expect(lines).toHaveLength(3);
    expect(existsSync(folder)).toBe(false);
  });

  it('needs neither pip nor an index when all is there, and fetches a damaged library again', async () => {
    await setUp();
    await setUp({ source: { python: 'no-such-program', wheels: source } });
    expect(lines.at(-1)).toMatch(/^All 2 wheels are there and undamaged/);

    writeFileSync(join(libraries(folder), 'libcudart.so.13'), 'CUDART'); // of the same size
    lines = [];
    await setUp();
    expect(lines[0]).toMatch(/libcudart\.so\.13 is missing or damaged; nvidia-cudart is fetched again/);
    expect(lines[1]).toMatch(/^1 of 2 wheels/);
    expect(readFileSync(join(libraries(folder), 'libcudart.so.13'), 'utf8')).toBe('cudart');
  });

  it('goes on where a killed run stopped', async () => {
    // One download was complete, another one half done, and a library half unpacked.
    const downloads = join(folder, 'downloads');
    mkdirSync(join(downloads, 'tmp'), { recursive: true });
    mkdirSync(libraries(folder));
    const [complete, half] = wheels.map(({ path }) => join(downloads, path.slice(source.length + 1)));
    copyFileSync(wheels[0].path, complete);
    copyFileSync(wheels[1].path, half);
    truncateSync(half, 100);
    writeFileSync(join(downloads, 'tmp', 'pip-rest'), 'x');
    writeFileSync(join(libraries(folder), 'libcudart.so.13.part'), 'cud');
    writeFileSync(join(folder, 'setup.pid'), '4194305'); // greater than the greatest process number
    await rm(wheels[0].path);
    await setUp();
    expect(unpacked()).toEqual(LIBRARIES);
    expect(readdirSync(folder).sort()).toEqual(['lib', 'manifest.json']);
  });

  it('uses nothing of a wheel that does not have the pinned hash', async () => {
    const damaged = { ...wheels[0], sha256: '0'.repeat(64) };
    await expect(setUp({ wheels: [damaged] })).rejects.toThrow(
      /could not fetch nvidia-cudart 13\.0\.1: .*does not have the pinned hash/,
    );
    expect(unpacked()).toEqual([]);
    expect(readdirSync(join(folder, 'downloads'))).toEqual([]);
  });

  it('says so when a wheel is not in the index, and keeps what it has', async () => {
    await rm(wheels[1].path);
    await expect(setUp()).rejects.toThrow(/could not fetch onnxruntime-gpu 1\.30\.0: it is not there/);
    expect(await findLibraryProblem(folder, wheels)).toMatch(
      /incomplete: onnxruntime-gpu 1\.30\.0 is missing/,
    );
    expect(existsSync(join(folder, 'setup.pid'))).toBe(false);
  });

  it('refuses to start while another one runs', async () => {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'setup.pid'), String(process.ppid));
    await expect(setUp()).rejects.toThrow(/Another findery gpu setup is running \(process \d+\)/);
  });
});

describe('setUpLibraries without pip', () => {
  const wheel = { name: 'a', version: '1', sha256: '0'.repeat(64), bytes: 10, unpackedBytes: 10 };

  it('says how to get it', async () => {
    const fetching = setUp({ wheels: [wheel], source: { python: 'no-such-program', wheels: null } });
    await expect(fetching).rejects.toThrow(/there is no program "no-such-program".*python3-pip.*--python/);
    const python = join(root, 'python');
    writeFileSync(python, '#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n');
    chmodSync(python, 0o755);
    await expect(setUp({ wheels: [wheel], source: { python, wheels: null } })).rejects.toThrow(/has no pip/);
  });

  it('says before the download that the disk is too small', async () => {
    const python = fakePython('unused');
    const fetching = setUp({
      wheels: [{ ...wheel, unpackedBytes: 1e18 }],
      source: { python, wheels: null },
    });
    await expect(fetching).rejects.toThrow(/of free space, and .* are needed.*FINDERY_GPU_LIBRARIES/);
  });

  it.each([
    ['OSError: [Errno 28] No space left on device', /The disk of .* is full\. Free some space/],
    ['WARNING: Retrying after NewConnectionError', /the package index can't be reached/],
    ['ERROR: something new', /could not fetch a 1: ERROR: something new\.$/],
  ])('explains a pip that fails with "%s"', async (message, words) => {
    const python = fakePython(message);
    await expect(setUp({ wheels: [wheel], source: { python, wheels: null } })).rejects.toThrow(words);
    expect(readdirSync(join(folder, 'downloads'))).toEqual([]);
  });

  it('ends pip at an interrupt, and removes what it has begun', async () => {
    const python = join(root, 'python');
    writeFileSync(
      python,
      '#!/bin/sh\n[ "$3" = --version ] && exit 0\nhead -c 1000 /dev/zero >"$TMPDIR/x"\nexec sleep 100\n',
    );
    chmodSync(python, 0o755);
    const interrupt = new AbortController();
    // The program has begun when its file grows.
    const onProgress = (_: unknown, bytes: number) => bytes >= 1000 && interrupt.abort('SIGINT');
    const fetching = setUp({
      wheels: [wheel],
      source: { python, wheels: null },
      stop: interrupt.signal,
      onProgress,
    });
    await expect(fetching).rejects.toThrow(/Interrupted\. .*goes on/);
    expect(readdirSync(join(folder, 'downloads'))).toEqual([]);
    expect(existsSync(join(folder, 'setup.pid'))).toBe(false);
  });

  it('says which file of the folder is missing or of another size', async () => {
    mkdirSync(libraries(folder), { recursive: true });
    const files = [{ name: 'liba.so', bytes: 3, sha256: '' }];
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ a: { sha256: wheel.sha256, files } }));
    expect(await findLibraryProblem(folder, [wheel])).toMatch(/incomplete: liba\.so is missing/);
    writeFileSync(join(libraries(folder), 'liba.so'), 'abc');
    expect(await findLibraryProblem(folder, [wheel])).toBeNull();
    appendFileSync(join(libraries(folder), 'liba.so'), 'd');
    expect(await findLibraryProblem(folder, [wheel])).toMatch(
      /liba\.so is damaged: it has 4 bytes instead of 3/,
    );
  });
});
