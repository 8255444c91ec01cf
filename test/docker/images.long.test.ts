import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureRedis } from '../../src/cli/redis/ensure-redis.ts';
import { freePort } from '../support/redis-servers.ts';

/**
 * Builds the folders of the images as their files say, in clean directories and without Docker.
 * COPY copies what .dockerignore allows, RUN lines with npm are run, and CMD and HEALTHCHECK start
 * with the environment of ENV.
 */
const ROOT = join(import.meta.dirname, '..', '..');
const run = promisify(execFile);

let folder: string;
let redis: Awaited<ReturnType<typeof ensureRedis>>;
const prefix = `test-${randomBytes(6).toString('hex')}`;
const running: ChildProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-images-'));
  redis = await ensureRedis({ url: process.env.REDIS_URL, dataDir: folder, log: () => {} });
});

afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  await redis?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** A built image: its folder, environment, CMD and HEALTHCHECK. */
interface Image {
  readonly app: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly command: readonly string[];
  readonly health: readonly string[];
}

/** Builds the last stage of an image. */
async function build(name: string): Promise<Image> {
  const text = readFileSync(join(ROOT, 'docker', `${name}.Dockerfile`), 'utf8').replaceAll(/\\\n\s*/g, ' ');
  const allowed = readFileSync(join(ROOT, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1));
  const app = join(folder, name);
  mkdirSync(app);
  const environment: NodeJS.ProcessEnv = { PATH: process.env.PATH, HOME: process.env.HOME };
  let [command, health]: string[][] = [[], []];
  for (const line of text.split('\n')) {
    const [, instruction, rest] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    if (instruction === 'COPY' && !rest.startsWith('--from')) {
      const parts = rest.split(' ');
      const target = join(app, parts.pop() as string);
      for (const part of parts) {
        expect(allowed, `.dockerignore allows ${part}`).toContain(part.replace('./', ''));
        cpSync(join(ROOT, part), parts.length > 1 ? join(target, part) : target, { recursive: true });
      }
    } else if (instruction === 'RUN' && rest.startsWith('npm ')) {
      // The npm cache belongs to this machine, so it must not be cleaned.
      await run('sh', ['-c', rest.replace(' && npm cache clean --force', '')], {
        cwd: app,
        env: { ...process.env },
      });
    } else if (instruction === 'ENV') {
      for (const [, key, value] of rest.matchAll(/(\S+)=(\S+)/g))
        environment[key] = value.replaceAll('/app', app).replace('$PATH', environment[key] ?? '');
    } else if (instruction === 'CMD') command = JSON.parse(rest);
    else if (instruction === 'HEALTHCHECK') health = JSON.parse(rest.slice(rest.indexOf('[')));
  }
  return { app, environment, command, health };
}

/** Runs CMD and waits until HEALTHCHECK succeeds. */
async function start(image: Image, more: NodeJS.ProcessEnv): Promise<void> {
  const env = { ...image.environment, REDIS_URL: redis.url, FINDERY_REDIS_PREFIX: prefix, ...more };
  const [program, ...args] = image.command;
  const child = spawn(program, args, { cwd: image.app, env, stdio: ['ignore', 'pipe', 'pipe'] });
  running.push(child);
  let output = '';
  child.stdout?.on('data', (data) => (output += data));
  child.stderr?.on('data', (data) => (output += data));
  const [check, ...checkArgs] = image.health;
  const isHealthy = () =>
    run(check, checkArgs, { cwd: image.app, env }).then(
      () => true,
      () => false,
    );
  await expect
    .poll(async () => (child.exitCode === null ? await isHealthy() : output), {
      timeout: 40_000,
      interval: 500,
    })
    .toBe(true);
}

describe('the folder of', () => {
  it('the worker starts, and its health check fails without a live worker', async () => {
    const image = await build('worker');
    const [data, models] = [join(folder, 'data'), join(folder, 'models')];
    mkdirSync(models);
    cpSync(join(ROOT, 'models', 'stickers'), join(models, 'mine'), { recursive: true });
    for (const each of [models, join(models, 'mine')]) chmodSync(each, 0o555);
    for (const path of ['test', 'docker', 'node_modules/vitest'])
      expect(existsSync(join(image.app, path))).toBe(false);
    const env = { ...image.environment, REDIS_URL: redis.url, FINDERY_REDIS_PREFIX: prefix };
    const [check, ...args] = image.health;
    await expect(run(check, args, { cwd: image.app, env })).rejects.toThrow(
      /No worker on .* has reported in the last 10 s/,
    );
    await start(image, { FINDERY_DATA: data, FINDERY_MODELS: models });
    for (const each of [models, join(models, 'mine')]) chmodSync(each, 0o755);
  }, 120_000);

  it('the API starts without ONNX Runtime and lists the worker', async () => {
    const image = await build('api');
    expect(existsSync(join(image.app, 'node_modules', 'onnxruntime-node'))).toBe(false);
    const port = String(await freePort());
    await start(image, { FINDERY_DATA: join(folder, 'data'), HOST: '127.0.0.1', PORT: port });
    const answer = (await (await fetch(`http://127.0.0.1:${port}/v1/workers`)).json()) as {
      data: { loaded: string[] }[];
    };
    expect(answer.data[0].loaded).toContain('mine');
  }, 120_000);
});
