import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Redis } from 'ioredis';
import { afterEach, beforeEach, onTestFinished } from 'vitest';
import { ensureRedis, type RedisService } from '../../src/cli/redis/ensure-redis.ts';
import { openConnection } from '../../src/redis/address.ts';

/** Starts private Redis servers in a temporary data folder and stops them after the test. */
export class RedisLauncher {
  /** Data folder of the current test. Its name holds a space. */
  dataDir = '';
  /** Lines that the launcher logged. */
  log: string[] = [];
  readonly #started: RedisService[] = [];

  async setUp(): Promise<void> {
    this.dataDir = await mkdtemp(join(tmpdir(), 'findery redis-'));
    this.log = [];
  }

  async tearDown(): Promise<void> {
    await Promise.all(this.#started.splice(0).map((service) => service.stop()));
    await rm(this.dataDir, { recursive: true, force: true });
  }

  async start(
    options: { readonly dataDir?: string; readonly searchPath?: string } = {},
  ): Promise<RedisService> {
    const { dataDir } = this;
    const log = (line: string) => this.log.push(line);
    const service = await ensureRedis({ dataDir, log, install: false, ...options });
    this.#started.push(service);
    return service;
  }

  /**
   * Starts a private Redis from another process, which lives until the test ends.
   * @param code what that process does after the start, as JavaScript; `alive` is its keep-alive
   *   timer
   */
  async startInProcess(code = ''): Promise<{ readonly child: ChildProcess; readonly url: string }> {
    const module = pathToFileURL(join(import.meta.dirname, '../../src/cli/redis/ensure-redis.ts')).href;
    const script = `import { ensureRedis } from ${JSON.stringify(module)};
       const { url } = await ensureRedis({ dataDir: process.argv[1], log() {}, install: false });
       console.log(url);
       const alive = setInterval(() => {}, 1000);
       ${code}`;
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script, this.dataDir],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    );
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    const [line] = await once(child.stdout, 'data');
    return { child, url: String(line).trim() };
  }
}

/** A launcher for the tests of a file; registers its hooks. */
export function useRedisLauncher(): RedisLauncher {
  const launcher = new RedisLauncher();
  beforeEach(() => launcher.setUp());
  afterEach(() => launcher.tearDown());
  return launcher;
}

/** A temporary folder that is removed after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'findery-redis-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A folder whose `redis-server` is this shell script. */
export async function folderWithServer(script: string): Promise<string> {
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'redis-server'), `#!/bin/sh\n${script}`);
  await chmod(join(folder, 'redis-server'), 0o755);
  return folder;
}

/** Runs commands with a connection that does not reconnect. */
export async function query<T>(url: string, run: (client: Redis) => Promise<T>): Promise<T> {
  const client = openConnection(url, { retryStrategy: () => null, maxRetriesPerRequest: 0 });
  client.on('error', () => {});
  try {
    return await run(client);
  } finally {
    client.disconnect();
  }
}

/** Whether a Redis at `url` answers PING. */
export async function answers(url: string): Promise<boolean> {
  return query(url, (client) => client.ping()).then(
    () => true,
    () => false,
  );
}

/** Process number of the server at `url`. */
export async function serverProcess(url: string): Promise<number> {
  const info = await query(url, (client) => client.info('server'));
  return Number(/process_id:(\d+)/.exec(info)?.[1]);
}

/** Whether the process group, server and watchdog, still has a process. Zombies do not count. */
export function isGroupRunning(group: number): boolean {
  const lines = execFileSync('ps', ['-A', '-o', 'pgid=,stat='], { encoding: 'utf8' }).split('\n');
  return lines.some((line) => {
    const [pgid, state] = line.trim().split(/\s+/);
    return Number(pgid) === group && !state.startsWith('Z');
  });
}

/** Waits up to 10 seconds until the condition holds. */
export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('The condition did not hold within 10 seconds.');
}
