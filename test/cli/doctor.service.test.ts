import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkPersistence, readInfo } from '../../src/cli/doctor/redis.ts';
import { isSupportedPlatform } from '../../src/cli/gpu/library-folder.ts';
import { ensureRedis } from '../../src/cli/redis/ensure-redis.ts';
import { FINDERY, useCommandLine } from '../support/command-line.ts';
import { makeLibraryFolder } from '../support/gpu-libraries.ts';

const cli = useCommandLine();
const doctor = (environment: NodeJS.ProcessEnv = {}, ...args: string[]) =>
  cli.run(FINDERY, ['doctor', ...args], { REDIS_URL: '', ...environment });

/** PATH with an nvidia-smi that reports one card with this driver. */
function pathWithCard(driver: string): string {
  const folder = join(cli.folder, 'bin');
  mkdirSync(folder, { recursive: true });
  const program = join(folder, 'nvidia-smi');
  writeFileSync(program, `#!/bin/sh\necho "0, NVIDIA H100 80GB HBM3, ${driver}, 80000"\n`);
  chmodSync(program, 0o755);
  return `${folder}${delimiter}${process.env.PATH}`;
}

describe('findery doctor', () => {
  it('prints a line for each check and ends with 0 when nothing is wrong', async () => {
    const redis = await ensureRedis({ dataDir: join(cli.folder, 'redis'), log: () => {} });
    try {
      const { status, output } = await doctor({ REDIS_URL: redis.url });
      expect(output).toMatch(/^ok +findery: \d+\.\d+\.\d+, onnxruntime-node 1\./);
      expect(output).toMatch(/^ok +redis: (Redis|Valkey) [\d.]+ answers in [\d.]+ ms$/m);
      expect(output).toMatch(/^ok +persistence: appendonly yes, appendfsync always, noeviction$/m);
      expect(output).toMatch(/^ok +clock: /m);
      expect(output).toMatch(/^ok +storage: .* takes writes, [\d.]+ .B free$/m);
      expect(output).toMatch(/^ok +models: stickers; rewards: stickers-reward/m);
      expect(output).toMatch(/^ok +cpu: ready$/m);
      expect(status).toBe(0);
    } finally {
      await redis.stop();
    }
  });

  it('ends with 1 when there is a problem, and prints the checks as JSON', async () => {
    const { status, output } = await doctor(
      { REDIS_URL: 'redis://user:secret@127.0.0.1:1', FINDERY_MODELS: '/no-such-folder' },
      '--json',
    );
    expect(status).toBe(1);
    expect(output).not.toContain('secret');
    const { ok, checks } = JSON.parse(output);
    expect(ok).toBe(false);
    expect(checks).toContainEqual({
      check: 'redis',
      status: 'problem',
      message: expect.stringMatching(/127\.0\.0\.1:1 can't be used: .*ECONNREFUSED.* Start it/),
    });
    expect(checks).toContainEqual({
      check: 'models',
      status: 'problem',
      message: expect.stringContaining('/no-such-folder does not exist'),
    });
  });

  it('names settings that are not usable, and refuses unknown options with 2', async () => {
    expect(await doctor({ PORT: 'x' })).toMatchObject({
      status: 1,
      output: expect.stringMatching(/^problem +settings: [\s\S]*PORT is "x"/m),
    });
    expect((await doctor({}, '--what')).status).toBe(2);
  });

  it('reports storage that takes no writes, and a folder that everybody may write to', async () => {
    const data = join(cli.folder, 'data');
    mkdirSync(data);
    chmodSync(data, 0o777);
    writeFileSync(join(data, 'blobs'), 'a file in the place of the folder');
    const { status, output } = await doctor();
    expect(output).toMatch(/^problem +storage: .*blobs can't be used/m);
    expect(output).toMatch(/^warning +permissions: every user may write to .*\(mode 777\)/m);
    expect(status).toBe(1);
  });
});

describe.runIf(isSupportedPlatform())('findery doctor on CUDA', () => {
  const cuda = async (environment: NodeJS.ProcessEnv) => {
    const { output } = await doctor({ FINDERY_PROVIDERS: 'cuda', ...environment });
    return output.split('\n').find((line) => / cuda: /.test(line)) ?? output;
  };

  it('names the one thing that is missing: libraries, driver, card, a library that is damaged', async () => {
    const PATH = pathWithCard('580.95.05');
    expect(await cuda({ PATH })).toMatch(
      /^problem .*not installed: run findery gpu setup \(1\.2 GB at most\)/,
    );
    const lib = await makeLibraryFolder(join(cli.folder, 'data'));
    expect(await cuda({ PATH: pathWithCard('570.1') })).toMatch(
      /libraries are in place; the driver 570\.1 is too old/,
    );
    expect(await cuda({ PATH: pathWithCard('580.95.05'), FINDERY_DEVICE: '3' })).toMatch(
      /there is no card 3: FINDERY_DEVICE takes 0/,
    );
    // The files of this folder are no libraries, so the session is what fails now.
    expect(await cuda({ PATH })).toContain(
      `${join(lib, 'libonnxruntime_providers_cuda.so')}: file too short`,
    );
    writeFileSync(join(lib, 'libonnxruntime_providers_cuda.so'), 'longer text');
    expect(await cuda({ PATH })).toMatch(/is damaged: it has 11 bytes instead of 4: run findery gpu setup/);
  });

  it('is a warning where a worker falls back to the CPU, or does not use the card', async () => {
    const PATH = pathWithCard('580.95.05');
    expect(await cuda({ PATH, FINDERY_PROVIDERS: 'cuda,cpu' })).toMatch(/^warning /);
    expect(await cuda({ PATH, FINDERY_PROVIDERS: 'cpu' })).toMatch(/^warning /);
  });
});

describe('checkPersistence', () => {
  const info = (changes: object) =>
    readInfo(
      Object.entries({ aof_enabled: 1, maxmemory: 0, maxmemory_policy: 'noeviction', ...changes })
        .map(([name, value]) => `${name}:${value}`)
        .join('\r\n'),
    );

  it.each([
    [{}, 'always', 'ok', /appendfsync always/],
    [{}, null, 'ok', /^appendonly yes, noeviction/],
    [{}, 'everysec', 'warning', /the jobs of the last second/],
    [{ aof_enabled: 0 }, 'always', 'warning', /CONFIG SET appendonly yes/],
    [{ maxmemory: 1000, maxmemory_policy: 'allkeys-lru' }, 'always', 'problem', /a full Redis drops jobs/],
    [{ aof_last_write_status: 'err' }, 'always', 'problem', /could not write its append-only file/],
  ])('of %j with appendfsync %s is %s', (changes, fsync, status, words) => {
    const result = checkPersistence(info(changes), fsync);
    expect(result.status).toBe(status);
    expect(result.message).toMatch(words);
  });
});
