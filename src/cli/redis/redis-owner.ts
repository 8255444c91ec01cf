import { readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { askToEnd, PAUSE, probe } from './redis-probe.ts';
import { SHUTDOWN_PATIENCE } from './redis-process.ts';

/** How long a server that is claimed by a living process may be silent before the claim counts as left over. */
const CLAIM_PATIENCE = 2000;

/** Whose the server of a data folder is: what its `owner.json` says. */
export interface Owner {
  /** The process that started the server. */
  readonly pid: number;
  readonly port: number;
}

/**
 * Waits for a server that is about to end, ends one whose owner died, and removes a claim that was left over.
 * @throws Error when the folder is in use
 */
export async function clearTheWay(folder: string, ownerFile: string): Promise<void> {
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

/** Makes the folder ours. Throws an Error when another process was quicker. */
export async function claim(ownerFile: string, owner: Owner): Promise<void> {
  try {
    await writeFile(ownerFile, JSON.stringify(owner), { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new Error(
      `Another process is just starting a private Redis with ${ownerFile}. Try again in a moment.`,
    );
  }
}

/** Forgets our claim, but not that of a process that has taken over meanwhile. */
export async function release(ownerFile: string, port: number): Promise<void> {
  const owner = await readOwner(ownerFile);
  if (owner?.pid === process.pid && owner.port === port) await rm(ownerFile, { force: true });
}

/** The claim; null where there is none, and numbers of nobody where it is not written to its end. */
export async function readOwner(ownerFile: string): Promise<Owner | null> {
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
