import { execFile } from 'node:child_process';
import { readlinkSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isSupportedPlatform, libraryEnvironment } from '../../../src/cli/gpu/library-folder.ts';
import { readWheels } from '../../../src/cli/gpu/wheels.ts';
import { ensureRedis } from '../../../src/cli/redis/ensure-redis.ts';
import { readConfig } from '../../../src/config/config.ts';
import { makeLibraryFolder } from '../../support/gpu-libraries.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
let data: string;

beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'findery-gpu-'));
});
afterEach(() => rm(data, { recursive: true, force: true }));

const config = (providers = 'cuda') => readConfig({ FINDERY_DATA: data, FINDERY_PROVIDERS: providers });

it('pins the CUDA provider of the version of onnxruntime-node in package.json', async () => {
  const { dependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  const wheels = await readWheels();
  expect(wheels.find(({ name }) => name === 'onnxruntime-gpu')?.version).toBe(
    dependencies['onnxruntime-node'],
  );
});

describe.runIf(isSupportedPlatform())('libraryEnvironment', () => {
  it('puts the folder before everything else in LD_LIBRARY_PATH, once', async () => {
    const lib = await makeLibraryFolder(data);
    expect(await libraryEnvironment(config(), { A: 'b' })).toEqual({ A: 'b', LD_LIBRARY_PATH: lib });
    const both = await libraryEnvironment(config('cuda,cpu'), { LD_LIBRARY_PATH: '/opt/cuda' });
    expect(both).toEqual({ LD_LIBRARY_PATH: `${lib}:/opt/cuda` });
    expect(await libraryEnvironment(config(), both ?? {})).toBeNull();
  });

  it('changes nothing without a provider that needs it, or with incomplete libraries', async () => {
    expect(await libraryEnvironment(config(), {})).toBeNull();
    const lib = await makeLibraryFolder(data);
    expect(await libraryEnvironment(config('cpu'), {})).toBeNull();
    rmSync(join(lib, 'libonnxruntime_providers_cuda.so'));
    expect(await libraryEnvironment(config(), {})).toBeNull();
  });

  it('links libonnxruntime.so.1 of this installation, and replaces a link to another one', async () => {
    const lib = await makeLibraryFolder(data);
    const link = join(lib, 'libonnxruntime.so.1');
    symlinkSync('/elsewhere/libonnxruntime.so.1', link);
    await libraryEnvironment(config(), {});
    expect(readlinkSync(link)).toMatch(
      /^\/.*onnxruntime-node\/bin\/napi-v6\/linux\/x64\/libonnxruntime\.so\.1$/,
    );
    expect(realpathSync(link)).toContain('libonnxruntime.so.1');
  });
});

describe.runIf(isSupportedPlatform())('a process with FINDERY_PROVIDERS=cuda', () => {
  /** What a program prints; it fails, because the libraries of this test are none. */
  const outputOf = (script: string, args: readonly string[], environment: NodeJS.ProcessEnv) =>
    new Promise<string>((resolve) => {
      const env: NodeJS.ProcessEnv = {
        ...process.env,
        FINDERY_DATA: data,
        FINDERY_PROVIDERS: 'cuda',
        PORT: '0',
        LD_LIBRARY_PATH: '',
        ...environment,
      };
      const program = ['--disable-warning=ExperimentalWarning', join(ROOT, 'src', 'cli', script), ...args];
      execFile(process.execPath, program, { env, timeout: 120_000 }, (_, stdout, stderr) =>
        resolve(`${stdout}${stderr}`),
      );
    });

  it('loads the provider out of the folder: npm run worker, npm start and findery models check', async () => {
    const lib = await makeLibraryFolder(data);
    // The dynamic linker names the file that it refuses.
    const refused = `${join(lib, 'libonnxruntime_providers_cuda.so')}: file too short`;
    const redis = await ensureRedis({ url: process.env.REDIS_URL, dataDir: data, log: () => {} });
    try {
      const environment = { REDIS_URL: redis.url };
      expect(await outputOf('worker.ts', [], environment)).toContain(refused);
      expect(await outputOf('serve.ts', [], environment)).toContain(refused);
      expect(await outputOf('findery.ts', ['models', 'check', 'stickers'], environment)).toContain(refused);
    } finally {
      await redis.stop();
    }
  });
});
