import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { ensureRedis, type RedisService, redactUrl } from '../../src/cli/redis/ensure-redis.ts';
import { findProgram } from '../../src/cli/redis/find-program.ts';

let dataDir: string;
let log: string[];
const started: RedisService[] = [];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'findery redis-'));
  log = [];
});

afterEach(async () => {
  await Promise.all(started.splice(0).map((service) => service.stop()));
  await rm(dataDir, { recursive: true, force: true });
});

async function start(
  options: { readonly dataDir?: string; readonly searchPath?: string } = {},
): Promise<RedisService> {
  const service = await ensureRedis({ dataDir, log: (line) => log.push(line), install: false, ...options });
  started.push(service);
  return service;
}

async function ask<T>(url: string, question: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, { retryStrategy: () => null, maxRetriesPerRequest: 0 });
  client.on('error', () => {});
  try {
    return await question(client);
  } finally {
    client.disconnect();
  }
}

async function processOf(url: string): Promise<number> {
  const info = await ask(url, (client) => client.info('server'));
  return Number(/process_id:(\d+)/.exec(info)?.[1]);
}

/** Whether any process of the group is left, the server or its watcher; one that only waits to be buried does not count. */
function isRunning(group: number): boolean {
  const lines = execFileSync('ps', ['-A', '-o', 'pgid=,stat='], { encoding: 'utf8' }).split('\n');
  return lines.some((line) => {
    const [pgid, state] = line.trim().split(/\s+/);
    return Number(pgid) === group && !state.startsWith('Z');
  });
}

async function answers(url: string): Promise<boolean> {
  return ask(url, (client) => client.ping()).then(
    () => true,
    () => false,
  );
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('It did not happen within 10 seconds.');
}

/** A process of its own that starts a private Redis, prints its URL and stays. */
async function startElsewhere(then = '') {
  const module = pathToFileURL(join(import.meta.dirname, '../../src/cli/redis/ensure-redis.ts')).href;
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      '--input-type=module',
      '-e',
      `import { ensureRedis } from ${JSON.stringify(module)};
       const { url } = await ensureRedis({ dataDir: process.argv[1], log() {}, install: false });
       console.log(url);
       const alive = setInterval(() => {}, 1000);
       ${then}`,
      dataDir,
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const [line] = await once(child.stdout, 'data');
  return { child, url: String(line).trim() };
}

describe('a private Redis', () => {
  it('answers on the loopback, writes every change to the disk and evicts nothing', async () => {
    const { url, origin } = await start();
    expect(origin).toBe('private');
    expect(url).toMatch(/^redis:\/\/127\.0\.0\.1:\d+$/);
    const settings = await ask(url, async (client) => {
      const pairs = (await client.config('GET', '*')) as string[];
      return Object.fromEntries(pairs.flatMap((name, i) => (i % 2 ? [] : [[name, pairs[i + 1]]])));
    });
    expect(settings).toMatchObject({
      bind: '127.0.0.1',
      appendonly: 'yes',
      appendfsync: 'always',
      'maxmemory-policy': 'noeviction',
      save: '',
    });
    expect(settings.dir).toMatch(/redis$/);
    expect(log.at(-1)).toContain(url.slice('redis://'.length));
  });

  it('leaves no process after stop, also when stopped twice, and keeps its data for the next start', async () => {
    const first = await start();
    const server = await processOf(first.url);
    await ask(first.url, (client) => client.set('job', 'kept'));
    await first.stop();
    await first.stop();
    expect(() => process.kill(server, 0)).toThrow('ESRCH');
    await until(() => !isRunning(server));
    expect(await readdir(join(dataDir, 'redis'))).not.toContain('owner.json');

    const second = await start();
    expect(await ask(second.url, (client) => client.get('job'))).toBe('kept');
  });

  it('refuses a second one on the same folder and says how to share the first', async () => {
    const first = await start();
    await expect(start()).rejects.toThrow(`set REDIS_URL=${first.url}`);
    await expect(start()).rejects.toThrow(`in use by process ${process.pid}`);
    expect(await answers(first.url)).toBe(true);
  });

  it('lets two folders each have their own', async () => {
    const other = await mkdtemp(join(tmpdir(), 'findery-redis-'));
    onTestFinished(() => rm(other, { recursive: true, force: true }));
    const services = await Promise.all([start(), start({ dataDir: other })]);
    const servers = await Promise.all(services.map(({ url }) => processOf(url)));
    expect(new Set(servers).size).toBe(2);
  });

  it.each([
    ['is killed without a chance to clean up', 'SIGKILL', ''],
    ['is told to end', 'SIGTERM', ''],
    ['throws', null, 'setTimeout(() => { throw new Error("uncaught"); }, 50);'],
    ['has nothing left to do', null, 'clearInterval(alive);'],
  ] as const)('ends when the process that started it %s', async (_, signal, then) => {
    const { child, url } = await startElsewhere(then);
    if (signal) {
      expect(await answers(url)).toBe(true);
      child.kill(signal);
    }
    await until(async () => !(await answers(url)));
  });

  it('outlives a Ctrl-C, which a terminal sends to the whole group, as long as its process does', async () => {
    const { url } = await start();
    const server = await processOf(url);
    // The group of a terminal's job is that of the process; the server has one of its own.
    const text = execFileSync('ps', ['-o', 'pgid=', '-p', String(server)], { encoding: 'utf8' });
    expect(Number(text)).toBe(server);
  });

  it('starts again right after its process was killed, with the data', async () => {
    const { child, url } = await startElsewhere();
    await ask(url, (client) => client.set('job', 'kept'));
    child.kill('SIGKILL');
    await once(child, 'exit');
    const next = await start();
    expect(await ask(next.url, (client) => client.get('job'))).toBe('kept');
  });

  it('is not held up by a claim that a crashed machine left behind', async () => {
    const { url, stop } = await start();
    await stop();
    // After a restart the old number may belong to any process, as here to this one.
    await writeFile(
      join(dataDir, 'redis', 'owner.json'),
      JSON.stringify({ pid: process.pid, port: Number(url.split(':').at(-1)) }),
    );
    await start();
    expect(JSON.parse(await readFile(join(dataDir, 'redis', 'owner.json'), 'utf8'))).toMatchObject({
      pid: process.pid,
    });
  });

  it('leaves the server of another folder alone when an old claim names its port', async () => {
    const other = await mkdtemp(join(tmpdir(), 'findery-redis-'));
    onTestFinished(() => rm(other, { recursive: true, force: true }));
    const { url } = await start({ dataDir: other });
    await mkdir(join(dataDir, 'redis'));
    const port = Number(url.split(':').at(-1));
    await writeFile(join(dataDir, 'redis', 'owner.json'), JSON.stringify({ pid: 2 ** 30, port }));
    expect((await start()).url).not.toBe(url);
    expect(await answers(url)).toBe(true);
  });

  it('tells when its server ends by itself, and its watcher ends too', async () => {
    const { url } = await start();
    const server = await processOf(url);
    process.kill(server, 'SIGKILL');
    await until(() => log.some((line) => line.includes('has ended')));
    await until(() => !isRunning(server));
  });

  it('is there again on the same port with all that was answered, as often as it is killed', async () => {
    const { url, stop } = await start();
    for (const round of ['first', 'second']) {
      await ask(url, (client) => client.set(round, 'kept'));
      const server = await processOf(url);
      process.kill(server, 'SIGKILL');
      await until(() => answers(url));
      expect(await processOf(url)).not.toBe(server);
    }
    expect(await ask(url, (client) => client.mget('first', 'second'))).toEqual(['kept', 'kept']);
    const last = await processOf(url);
    await stop();
    expect(await answers(url)).toBe(false);
    expect(isRunning(last)).toBe(false);
  });

  it('takes another port when somebody else gets there first', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void taken.close());
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    // A server that finds its first port taken, which the real one then reports.
    const folder = await mkdtemp(join(tmpdir(), 'findery-bin-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const real = await findProgram('redis-server', process.env.PATH ?? '');
    await writeFile(
      join(folder, 'redis-server'),
      `#!/bin/sh\n[ -e '${folder}/second' ] && exec '${real}' "$@"\n: >'${folder}/second'\nexec '${real}' "$@" --port ${port}\n`,
    );
    await chmod(join(folder, 'redis-server'), 0o755);
    const { url } = await start({ searchPath: folder });
    expect(url).not.toContain(`:${port}`);
    expect(await answers(url)).toBe(true);
  });

  it('shows the last lines of a server that can not start', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'findery-bin-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    await writeFile(
      join(folder, 'redis-server'),
      '#!/bin/sh\necho "Bad directive or wrong number of arguments"\nexit 1\n',
    );
    await chmod(join(folder, 'redis-server'), 0o755);
    await expect(start({ searchPath: folder })).rejects.toThrow('Bad directive or wrong number of arguments');
    expect(await readdir(join(dataDir, 'redis'))).not.toContain('owner.json');
  });

  it('is a valkey-server where there is no redis-server', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'findery-bin-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const real = await findProgram('redis-server', process.env.PATH ?? '');
    await symlink(real ?? '', join(folder, 'valkey-server'));
    const { url } = await start({ searchPath: folder });
    expect(await answers(url)).toBe(true);
  });

  it('says what to do where none is installed', async () => {
    await expect(start({ searchPath: '' })).rejects.toThrow(
      /redis-server nor valkey-server.*Install one.*REDIS_URL/s,
    );
  });
});

describe('a given Redis', () => {
  it('is used as it is and left running', async () => {
    const { url } = await start();
    const given = await ensureRedis({ url, dataDir, log: () => {} });
    expect(given).toMatchObject({ url, origin: 'given' });
    await given.stop();
    expect(await answers(url)).toBe(true);
  });

  it('must answer; the message names REDIS_URL and hides the password', async () => {
    const attempt = ensureRedis({ url: 'redis://me:secret@127.0.0.1:1/0', dataDir, log: () => {} });
    await expect(attempt).rejects.toThrow(
      /REDIS_URL \(redis:\/\/me:\*\*\*@127\.0\.0\.1:1\/0\).*ECONNREFUSED/s,
    );
    await expect(attempt).rejects.not.toThrow('secret');
  });

  it('must accept the password', async () => {
    const { url } = await start();
    await ask(url, (client) => client.config('SET', 'requirepass', 'right'));
    const wrong = url.replace('//', '//:wrong@');
    await expect(ensureRedis({ url: wrong, dataDir, log: () => {} })).rejects.toThrow(
      /can't be used: WRONGPASS/,
    );
    await expect(ensureRedis({ url, dataDir, log: () => {} })).rejects.toThrow(/can't be used: NOAUTH/);
    const right = url.replace('//', '//:right@');
    expect((await ensureRedis({ url: right, dataDir, log: () => {} })).url).toBe(right);
  });

  it.each([
    ['redis://:p@ss@host:6379', 'redis://:***@host:6379'],
    ['rediss://user:word@host/1?password=word', 'rediss://user:***@host/1?password=***'],
    ['redis://host:6379', 'redis://host:6379'],
    ['/run/redis.sock', '/run/redis.sock'],
  ])('%s is shown as %s', (url, shown) => {
    expect(redactUrl(url)).toBe(shown);
  });
});
