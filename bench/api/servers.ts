import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** A server in a child process. */
export interface Server {
  readonly url: string;
  readonly pid: number;
  /** Memory of the process in bytes. Only for processes of `startService` and `startWorker`. */
  memory(): Promise<NodeJS.MemoryUsage>;
  /** Processor time of the process so far in milliseconds; NaN if the system does not report it. */
  cpu(): Promise<number>;
  /** Terminates the process, as a supervisor does, and waits for its exit. */
  stop(): Promise<void>;
}

const START_TIMEOUT_MS = 120_000;
/** Time that a server may take to exit after SIGTERM, before it is killed. */
const SHUTDOWN_TIMEOUT_MS = 15_000;
const REPORT_MEMORY = new URL('./report-memory.ts', import.meta.url).href;
const NO_WARNINGS = '--disable-warning=ExperimentalWarning';

/**
 * Starts the API as `npm run api` does, with its log (level info) in a file.
 * @param folder data folder and folder of the log
 * @param profile folder for a CPU profile of the process; null: none
 * @throws Error with the last lines of the log when the API does not listen
 */
export async function startService(
  redisUrl: string,
  folder: string,
  { profile = null }: { readonly profile?: string | null } = {},
): Promise<Server> {
  const logFile = join(folder, `api-${Date.now()}.log`);
  const log = await open(logFile, 'w');
  const child = fork(fileURLToPath(new URL('../../src/cli/api.ts', import.meta.url)), {
    env: {
      ...process.env,
      FINDERY_DATA: folder,
      REDIS_URL: redisUrl,
      HOST: '127.0.0.1',
      PORT: '0',
      LOG_LEVEL: 'info',
    },
    execArgv: [
      NO_WARNINGS,
      '--import',
      REPORT_MEMORY,
      ...(profile === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]),
    ],
    stdio: ['ignore', log.fd, log.fd, 'ipc'],
  });
  await log.close();
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const text = await readFile(logFile, 'utf8');
    const url = /Server listening at (http:\/\/[0-9.:]+)/.exec(text)?.[1];
    if (url) return serverOf(child, url);
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(`The API did not start. Its last lines:\n${text.slice(-2000)}`);
    }
    await sleep(25);
  }
}

/**
 * Starts a worker as `npm run worker` does, with its log in a file, and waits until it takes jobs.
 * @param folder data folder and folder of the log
 */
export async function startWorker(redisUrl: string, folder: string): Promise<Omit<Server, 'url'>> {
  const log = await open(join(folder, `worker-${Date.now()}.log`), 'w');
  const child = fork(fileURLToPath(new URL('../../src/cli/worker.ts', import.meta.url)), {
    env: { ...process.env, FINDERY_DATA: folder, REDIS_URL: redisUrl, LOG_LEVEL: 'info' },
    execArgv: [NO_WARNINGS, '--import', REPORT_MEMORY],
    stdio: ['ignore', log.fd, log.fd, 'ipc'],
  });
  await log.close();
  await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`The worker exited with ${code}.`))),
  ]);
  return serverOf(child, '');
}

/** Starts `bare-server.ts`. */
export async function startBare(redisUrl: string): Promise<Server> {
  const child = fork(fileURLToPath(new URL('./bare-server.ts', import.meta.url)), {
    env: { ...process.env, REDIS_URL: redisUrl },
    execArgv: [NO_WARNINGS],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [{ url }] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`The bare server exited with ${code}.`))),
  ])) as [{ url: string }];
  return serverOf(child, url);
}

function serverOf(child: ChildProcess, url: string): Server {
  const ended = once(child, 'exit');
  return {
    url,
    pid: child.pid ?? 0,
    async memory() {
      const answer = once(child, 'message');
      child.send('memory');
      const [{ memory }] = (await answer) as [{ memory: NodeJS.MemoryUsage }];
      return memory;
    },
    cpu: () => cpuOf(child.pid ?? 0),
    async stop() {
      child.kill('SIGTERM');
      const killTimer = setTimeout(() => child.kill('SIGKILL'), SHUTDOWN_TIMEOUT_MS);
      await ended;
      clearTimeout(killTimer);
    },
  };
}

/** Processor time of a process so far in milliseconds; NaN if the system does not report it. */
export async function cpuOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (text === null) return Number.NaN;
  const [user, system] = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return 10 * (Number(user) + Number(system)); // the kernel counts in hundredths of a second
}
