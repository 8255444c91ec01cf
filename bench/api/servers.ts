import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** A server in a process of its own. */
export interface Server {
  readonly url: string;
  readonly pid: number;
  /** Its memory, bytes; only of a service that was started to tell. */
  memory(): Promise<NodeJS.MemoryUsage>;
  /** Milliseconds of processor time that it has taken so far; NaN where the system does not tell. */
  cpu(): Promise<number>;
  /** Ends it as a supervisor does, and waits for it. */
  stop(): Promise<void>;
}

const PATIENCE = 120_000;
const TELL_MEMORY = new URL('./tell-memory.ts', import.meta.url).href;
const QUIET = '--disable-warning=ExperimentalWarning';

/**
 * `npm run api`, with its log (level info) in a file, as a supervisor has it.
 * @param profile folder for a profile of its whole life; null: none
 * @throws Error with the end of its log when it does not listen
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
      QUIET,
      '--import',
      TELL_MEMORY,
      ...(profile === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]),
    ],
    stdio: ['ignore', log.fd, log.fd, 'ipc'],
  });
  await log.close();
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const text = await readFile(logFile, 'utf8');
    const url = /Server listening at (http:\/\/[0-9.:]+)/.exec(text)?.[1];
    if (url) return serverOf(child, url);
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(`The API does not listen. Its last lines:\n${text.slice(-2000)}`);
    }
    await sleep(25);
  }
}

/** `bare.ts`. */
export async function startBare(redisUrl: string): Promise<Server> {
  const child = fork(fileURLToPath(new URL('./bare.ts', import.meta.url)), {
    env: { ...process.env, REDIS_URL: redisUrl },
    execArgv: [QUIET],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [{ url }] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`The bare handler ended with ${code}.`))),
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
      const impatience = setTimeout(() => child.kill('SIGKILL'), 15_000);
      await ended;
      clearTimeout(impatience);
    },
  };
}

/** Milliseconds of processor time that a process has taken so far; NaN where the system does not tell. */
export async function cpuOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (text === null) return Number.NaN;
  const [user, system] = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return 10 * (Number(user) + Number(system)); // in hundredths of a second
}
