import { readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { POLL_INTERVAL_MS, probe, shutDown } from './redis-probe.ts';
import { SHUTDOWN_TIMEOUT_MS } from './redis-process.ts';

/**
 * Time after which a lock whose server does not answer is stale, even if its process number is in
 * use.
 */
const SILENT_SERVER_TIMEOUT_MS = 2000;

/** Content of `owner.json`, the lock file of a data folder: who runs the private Redis on it. */
export interface LockHolder {
  /**
   * Number of the process that started the server; 0 in a lock file that was not written
   * completely.
   */
  readonly pid: number;
  /** URL of the server as in REDIS_URL; null in an incomplete lock file. */
  readonly url: string | null;
}

const INCOMPLETE: LockHolder = { pid: 0, url: null };

/**
 * Waits until no private Redis uses the folder. A server whose process has died is shut down; a
 * stale lock file is removed.
 * @param folder data folder of the server, with links resolved
 * @throws Error when a living process uses the folder, or its orphaned server does not end
 */
export async function clearStaleLock(folder: string, lockFile: string): Promise<void> {
  const began = performance.now();
  for (let holder = await readLock(lockFile); holder !== null; holder = await readLock(lockFile)) {
    const state = await probe(holder.url, folder);
    const waited = performance.now() - began;
    if (state !== 'none') {
      if (holder.url === null || isAlive(holder.pid) || waited > SHUTDOWN_TIMEOUT_MS)
        throw inUse(folder, holder);
      await shutDown(holder.url);
    } else if (waited > SILENT_SERVER_TIMEOUT_MS || (holder.pid > 0 && !isAlive(holder.pid))) {
      // The system may have given the number of a dead process to a new one, so a living process
      // alone does not prove that the lock is held: its server has to answer within the time-out.
      await rm(lockFile, { force: true });
    }
    await sleep(POLL_INTERVAL_MS);
  }
}

function inUse(folder: string, { pid, url }: LockHolder): Error {
  return new Error(
    `The private Redis in ${folder} is in use by process ${pid}. Stop that process; or set FINDERY_DATA to ` +
      'another folder; or, to work on the same queue while it runs, ' +
      `set REDIS_URL='${url}'.`,
  );
}

/**
 * Creates the lock file.
 * @throws Error when another process created it first
 */
export async function acquireLock(lockFile: string, holder: LockHolder): Promise<void> {
  try {
    await writeFile(lockFile, JSON.stringify(holder), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new Error(
      `Another process is starting a private Redis (${lockFile} exists). Try again in a moment.`,
    );
  }
}

/** Removes the lock file, unless another process has acquired it since. */
export async function releaseLock(lockFile: string, url: string): Promise<void> {
  const holder = await readLock(lockFile);
  if (holder?.pid === process.pid && holder.url === url) await rm(lockFile, { force: true });
}

/**
 * The holder of the lock; null: there is no lock file. An incomplete file gives process 0. Release
 * 0.2 wrote the port of a server on 127.0.0.1.
 */
export async function readLock(lockFile: string): Promise<LockHolder | null> {
  try {
    const { pid, port, url } = JSON.parse(await readFile(lockFile, 'utf8'));
    const address = Number.isInteger(port) ? `redis://127.0.0.1:${port}` : url;
    return Number.isInteger(pid) && typeof address === 'string' ? { pid, url: address } : INCOMPLETE;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    if (error instanceof SyntaxError) return INCOMPLETE;
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
