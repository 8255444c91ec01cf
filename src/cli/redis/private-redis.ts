import { chmod, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram } from './find-program.ts';
import { acquireLock, clearStaleLock, readLock, releaseLock } from './lock-file.ts';
import { probe } from './redis-probe.ts';
import { launchRedis } from './redis-process.ts';

/** Pause before a server that exited is restarted. It doubles after every failed restart. */
const RESTART_DELAY_MS = 100;
const MAX_RESTART_DELAY_MS = 3000;
const SOCKET_NAME = 'redis.sock';
/** The shortest limit of all systems: macOS has 104, with the zero at the end. */
const MAX_SOCKET_PATH_BYTES = 103;

export interface PrivateRedis {
  /** Path of its unix socket, as REDIS_URL takes it. */
  readonly url: string;
  /** Ends the server and waits until its data are on the disk. */
  stop(): Promise<void>;
}

/**
 * Path of redis-server, or of valkey-server when there is no redis-server; null when there is
 * neither.
 * @param searchPath folders, separated as in PATH
 */
export async function findRedisServer(searchPath: string): Promise<string | null> {
  return (await findProgram('redis-server', searchPath)) ?? (await findProgram('valkey-server', searchPath));
}

/**
 * Starts a Redis server on a unix socket, with its data in `dataDir`/redis. Only this user may
 * enter the folder of the socket, so no other user of the machine reaches it.
 *
 * - Durability: every write is flushed to the append-only file before Redis answers, so a job that
 *   was answered with 202 survives a crash. Redis never evicts keys.
 * - Lifetime: the server ends when this process ends, by SIGKILL too (`redis-process.ts`). A server
 *   that exits by itself, for example because the disk is full, is restarted on the same socket and
 *   data until it stays up.
 * - Exclusion: two servers on one folder would corrupt the append-only file. `owner.json` in the
 *   folder is the lock (`lock-file.ts`); a second start is refused and names the URL of the first
 *   server.
 *
 * @param program path of redis-server or valkey-server
 * @param log receives one line for every event that a person should see
 * @throws Error when the folder is in use, or when the server does not start; then with its last
 *   lines
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
  await mkdir(join(dataDir, 'redis'), { recursive: true, mode: 0o700 });
  const folder = await realpath(join(dataDir, 'redis'));
  // Folders of earlier releases are readable by everybody, and so are the files in them.
  await chmod(folder, 0o700);
  const lockFile = join(folder, 'owner.json');
  await clearStaleLock(folder, lockFile);
  const socket = await chooseSocket(folder);
  await acquireLock(lockFile, { pid: process.pid, url: socket.path });
  const server = launchRedis(program, folder, socket.path);
  if (!(await server.isReady(log))) {
    await server.stop();
    await rm(lockFile, { force: true });
    await socket.remove();
    throw new Error(
      `${program} exited while it started, with data in ${folder}. ` +
        `Its last lines:\n${server.output() || '(none)'}`,
    );
  }
  const supervisor = superviseRedis(server, () => launchRedis(program, folder, socket.path), log);
  log(`Private Redis on ${socket.path}, data in ${folder}.`);
  return {
    url: socket.path,
    async stop() {
      await supervisor.stop();
      await releaseLock(lockFile, socket.path);
      await socket.remove();
    },
  };
}

/**
 * The path of the socket: in the folder, or, if that path is too long for a socket, in a new folder
 * for temporary files, which `remove` deletes. Only this user may enter either folder.
 */
async function chooseSocket(folder: string): Promise<{ path: string; remove(): Promise<void> }> {
  const path = join(folder, SOCKET_NAME);
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES && !path.includes('?'))
    return { path, remove: async () => {} };
  const temporary = await mkdtemp(join(tmpdir(), 'findery-'));
  const short = join(temporary, SOCKET_NAME);
  const remove = () => rm(temporary, { recursive: true, force: true });
  if (Buffer.byteLength(short) <= MAX_SOCKET_PATH_BYTES) return { path: short, remove };
  await remove();
  throw new Error(
    `The private Redis needs a socket, whose path may have ${MAX_SOCKET_PATH_BYTES} bytes; ` +
      `${path} and ${short} are longer. Set FINDERY_DATA or TMPDIR to a shorter path.`,
  );
}

type RedisProcess = ReturnType<typeof launchRedis>;

/** Restarts a server whenever it exits, until `stop` is called. */
function superviseRedis(first: RedisProcess, relaunch: () => RedisProcess, log: (line: string) => void) {
  let server = first;
  let isStopped = false;
  const restart = async (delay: number): Promise<void> => {
    await sleep(delay, undefined, { ref: false });
    if (isStopped) return;
    server = relaunch();
    if (!(await server.isReady(log))) {
      await server.stop();
      return void restart(Math.min(2 * delay, MAX_RESTART_DELAY_MS));
    }
    log('The private Redis is running again.');
    server.watch(log, () => void restart(RESTART_DELAY_MS));
  };
  server.watch(log, () => void restart(RESTART_DELAY_MS));
  return {
    async stop(): Promise<void> {
      isStopped = true;
      await server.stop();
    },
  };
}

/** URL of the private Redis that another process runs on `dataDir`; null: none does. */
export async function findPrivateRedis(dataDir: string): Promise<string | null> {
  const folder = await realpath(join(dataDir, 'redis')).catch(() => null);
  if (folder === null) return null;
  const holder = await readLock(join(folder, 'owner.json'));
  return holder !== null && (await probe(holder.url, folder)) === 'ready' ? holder.url : null;
}
