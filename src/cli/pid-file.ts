import { readFile, rm, writeFile } from 'node:fs/promises';

/**
 * Runs `work` while no other process does under the same file. The file of a process that died is
 * taken over.
 * @param path of the file, which holds the process id meanwhile; its folder exists
 * @param command for the message
 * @throws Error if another process holds the file
 */
export async function withPidFile<T>(path: string, command: string, work: () => Promise<T>): Promise<T> {
  const holder = Number(await readFile(path, 'utf8').catch(() => '0'));
  if (holder > 0 && !isAlive(holder)) await rm(path, { force: true });
  try {
    await writeFile(path, String(process.pid), { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new Error(`Another ${command} is running (process ${holder}). If there is none, delete ${path}.`);
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
