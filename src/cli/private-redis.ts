import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { findProgram } from './find-program.ts';

export interface PrivateRedis {
  readonly url: string;
  stop(): Promise<void>;
}

/** The redis-server, or else valkey-server, in the folders of `searchPath` (as in PATH); null where there is none. */
export async function findRedisServer(searchPath: string): Promise<string | null> {
  return (await findProgram('redis-server', searchPath)) ?? (await findProgram('valkey-server', searchPath));
}

/**
 * Starts `program` on 127.0.0.1 and a free port, with its data in `dataDir`/redis: append-only, flushed before every answer
 * (what was answered with 202 is on the disk), no eviction. It ends when this process ends, however that happens (see `GUARD`);
 * when it ends by itself, as it does on a full disk, it is started again on the same port and data until it stays.
 *
 * One process of a machine at a time: while the private Redis of a data folder runs, a second start on that folder is
 * refused, for two servers would ruin the append-only file; the message gives the URL with which to share the first. What
 * a killed process left behind (its `owner.json`, or the server in its last moments) is cleared away.
 *
 * @throws Error when the folder is in use, or the server can't start; then with its last lines
 */
export async function startPrivateRedis({
  program,
  dataDir,
  log,
}: {
  readonly program: string;
  readonly dataDir: string;
  readonly log: (line: string) => void;
}): Promise<PrivateRedis> {
  await mkdir(join(dataDir, 'redis'), { recursive: true });
  const folder = await realpath(join(dataDir, 'redis'));
  const ownerFile = join(folder, 'owner.json');
  await clearTheWay(folder, ownerFile);
  // A free port can be taken by somebody else before the server has it; then another one will do.
  for (let attempt = 1; ; attempt++) {
    const port = await findFreePort();
    await claim(ownerFile, { pid: process.pid, port });
    let server = launch(program, folder, port);
    if (await server.isReady(log)) {
      const keepAlive = async (pause: number) => {
        await sleep(pause, undefined, { ref: false });
        if (stopped) return;
        server = launch(program, folder, port);
        if (!(await server.isReady(log))) {
          await server.stop();
          return void keepAlive(Math.min(2 * pause, RESTART_PAUSE_MOST));
        }
        log('The private Redis is there again.');
        server.watch(log, () => void keepAlive(RESTART_PAUSE));
      };
      let stopped = false;
      server.watch(log, () => void keepAlive(RESTART_PAUSE));
      log(`Private Redis on 127.0.0.1:${port}, data in ${folder}.`);
      return {
        url: `redis://127.0.0.1:${port}`,
        async stop() {
          stopped = true;
          await server.stop();
          await release(ownerFile, port);
        },
      };
    }
    await server.stop();
    await rm(ownerFile, { force: true });
    if (!/address already in use/i.test(server.output()) || attempt === 5) {
      throw new Error(
        `${program} ended while it started, with data in ${folder}. Its last lines:\n${server.output() || '(none)'}`,
      );
    }
  }
}

/** Where the private Redis of `dataDir` answers, when a process runs one; null: none does. */
export async function findPrivateRedis(dataDir: string): Promise<string | null> {
  const folder = await realpath(join(dataDir, 'redis')).catch(() => null);
  if (folder === null) return null;
  const owner = await readOwner(join(folder, 'owner.json'));
  if (owner === null || (await probe(owner.port, folder)) !== 'ready') return null;
  return `redis://127.0.0.1:${owner.port}`;
}

/**
 * Becomes the server after leaving a watcher behind: a shell that reads our pipe, which the system closes when this
 * process ends in any way, SIGKILL included, and then tells the server to shut down. The watcher stays in the server's
 * process group; so its number can't pass to another process while the watcher may still use it.
 */
const GUARD = `server=$$
exec 3<&0
(while read -r line <&3; do :; done; kill -TERM $server) </dev/null >/dev/null 2>&1 &
exec "$@" 3<&- </dev/null`;

/** Milliseconds between looks at a server that starts or ends. */
const PAUSE = 25;
/** Milliseconds until a server that has ended by itself is started again; twice as long each time that it does not start. */
const RESTART_PAUSE = 100;
const RESTART_PAUSE_MOST = 3000;
/** How long a server may take to its first answer, milliseconds; one that loads its data answers that it does. */
const START_PATIENCE = 30_000;
/** How long a server may take to write its data at the end, milliseconds. */
const SHUTDOWN_PATIENCE = 10_000;
/** How long a server that is claimed by a living process may be silent before the claim counts as left over. */
const CLAIM_PATIENCE = 2000;

function launch(program: string, folder: string, port: number) {
  const settings = [
    ['--bind', '127.0.0.1'],
    ['--port', String(port)],
    ['--daemonize', 'no'],
    ['--dir', '.'],
    ['--appendonly', 'yes'],
    ['--appendfsync', 'always'],
    ['--save', ''],
    ['--maxmemory-policy', 'noeviction'],
    ['--loglevel', 'warning'],
  ].flat();
  const child = spawn('/bin/sh', ['-c', GUARD, 'findery-redis', program, ...settings], {
    cwd: folder,
    // Ctrl-C goes to the whole group of a terminal; the server must outlive the workers that still write to it.
    detached: true,
    // Redis refuses to start under a locale that the machine lacks.
    env: { ...process.env, LC_ALL: 'C' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const pipes = [child.stdin, child.stdout, child.stderr] as unknown as readonly Socket[];
  let tail = '';
  let stopping = false;
  for (const pipe of pipes.slice(1)) {
    pipe.on('data', (text: Buffer) => {
      tail = (tail + text).slice(-2000);
    });
  }
  child.stdin.on('error', () => {}); // the watcher may be gone already
  const ended = new Promise<void>((resolve) => {
    child.on('error', (error) => {
      tail += error.message;
      resolve();
    });
    child.on('close', () => resolve());
  });
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
  // Neither the server nor its pipes keep this process alive; its end closes the pipe and thereby ends the server.
  child.unref();
  for (const pipe of pipes) pipe.unref();

  return {
    output: () => tail.trim(),
    async isReady(log: (line: string) => void): Promise<boolean> {
      const deadline = performance.now() + START_PATIENCE;
      let told = false;
      while (!hasEnded()) {
        const state = await probe(port, folder);
        if (state === 'ready') return true;
        if (state === 'loading' && !told) log('The private Redis is loading its data ...');
        told ||= state === 'loading';
        if (state === 'none' && performance.now() > deadline) return false;
        await sleep(PAUSE);
      }
      await ended;
      return false;
    },
    /** Tells `log` when the server ends although nobody stopped it, and calls `onEnd`. */
    watch(log: (line: string) => void, onEnd: () => void): void {
      const tell = () => {
        if (stopping) return;
        log(`The private Redis has ended and is started again. Its last lines:\n${tail.trim() || '(none)'}`);
        onEnd();
      };
      if (hasEnded()) tell();
      else child.once('exit', tell);
    },
    async stop(): Promise<void> {
      stopping = true;
      if (child.pid === undefined) return;
      child.ref();
      child.stdin.end();
      const impatience = setTimeout(() => killGroup(child, 'SIGKILL'), SHUTDOWN_PATIENCE);
      await ended;
      clearTimeout(impatience);
    },
  };
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  } catch {
    // It has ended meanwhile.
  }
}

interface Owner {
  /** The process that started the server. */
  readonly pid: number;
  readonly port: number;
}

async function clearTheWay(folder: string, ownerFile: string): Promise<void> {
  const began = performance.now();
  for (let owner = await readOwner(ownerFile); owner !== null; owner = await readOwner(ownerFile)) {
    const state = await probe(owner.port, folder);
    const waited = performance.now() - began;
    if (state !== 'none') {
      if (isAlive(owner.pid) || waited > SHUTDOWN_PATIENCE) throw inUse(folder, owner);
      await askToEnd(owner.port);
    } else if (waited > CLAIM_PATIENCE || (owner.pid > 0 && !isAlive(owner.pid))) {
      // The number of a dead owner may have passed to another process, so a silent server decides, given its time.
      await rm(ownerFile, { force: true });
    }
    await sleep(PAUSE);
  }
}

function inUse(folder: string, { pid, port }: Owner): Error {
  return new Error(
    `The private Redis in ${folder} is in use by process ${pid}. Stop that process; or set FINDERY_DATA to another folder; ` +
      `or, to work on the same queue, set REDIS_URL=redis://127.0.0.1:${port} for as long as it runs.`,
  );
}

async function claim(ownerFile: string, owner: Owner): Promise<void> {
  try {
    await writeFile(ownerFile, JSON.stringify(owner), { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new Error(`Another process is just starting a private Redis with ${ownerFile}. Try again in a moment.`);
  }
}

/** Forgets our claim, but not that of a process that has taken over meanwhile. */
async function release(ownerFile: string, port: number): Promise<void> {
  const owner = await readOwner(ownerFile);
  if (owner?.pid === process.pid && owner.port === port) await rm(ownerFile, { force: true });
}

/** The claim; null where there is none, and numbers of nobody where it is not written to its end. */
async function readOwner(ownerFile: string): Promise<Owner | null> {
  try {
    const { pid, port } = JSON.parse(await readFile(ownerFile, 'utf8'));
    return Number.isInteger(pid) && Number.isInteger(port) ? { pid, port } : { pid: 0, port: 0 };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    if (error instanceof SyntaxError) return { pid: 0, port: 0 };
    throw error;
  }
}

function isAlive(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Whether the server of `folder`, and no other one, answers on `port`. CONFIG is answered while data are loaded; PING is not. */
async function probe(port: number, folder: string): Promise<'ready' | 'loading' | 'none'> {
  if (port === 0) return 'none';
  return withClient(port, async (client) => {
    const [, directory] = (await client.config('GET', 'dir')) as string[];
    if (directory !== folder) return 'none';
    return client.ping().then(
      () => 'ready' as const,
      () => 'loading' as const,
    );
  }).catch(() => 'none');
}

async function askToEnd(port: number): Promise<void> {
  await withClient(port, (client) => client.shutdown()).catch(() => {});
}

async function withClient<T>(port: number, action: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis({
    host: '127.0.0.1',
    port,
    lazyConnect: true,
    enableReadyCheck: false,
    connectTimeout: 1000,
    commandTimeout: 1000,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  client.on('error', () => {});
  try {
    await client.connect();
    return await action(client);
  } finally {
    // On a connection that has ended, disconnect would only leave a timer that keeps the process for two seconds.
    if (client.status !== 'end') client.disconnect();
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        typeof address === 'object' && address ? resolve(address.port) : reject(new Error('No free port was found.')),
      );
    });
  });
}
