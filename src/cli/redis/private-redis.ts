import { mkdir, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram } from './find-program.ts';
import { claim, clearTheWay, readOwner, release } from './redis-owner.ts';
import { findFreePort, probe } from './redis-probe.ts';
import { launch } from './redis-process.ts';

/** Milliseconds until a server that has ended by itself is started again; twice as long each time that it does not start. */
const RESTART_PAUSE = 100;
const RESTART_PAUSE_MOST = 3000;

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
 * (what was answered with 202 is on the disk), no eviction. It ends when this process ends, however that happens (`redis-process.ts`);
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
