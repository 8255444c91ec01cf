import { type ChildProcess, fork } from 'node:child_process';
import { createWriteStream, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureRedis } from '../../src/cli/redis/ensure-redis.ts';
import { readConfig } from '../../src/config/config.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { ApiKeys, NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { furnish, type Things } from './things.ts';

/** What a process holds, bytes; `files` are open descriptors. */
export interface Gauge {
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
  readonly files: number;
}

/** A service to be fuzzed: a private Redis, an API as `npm run api` starts it, a worker where it is wanted, two tenants. */
export interface Target {
  readonly url: string;
  readonly port: number;
  /** Seconds in which a whole request has to arrive there. */
  readonly requestSeconds: number;
  readonly keys: { readonly acme: string; readonly rival: string };
  /** Makes one of everything for acme; what others made may be deleted by now. */
  furnish(): Promise<Things>;
  readonly store: Store;
  readonly pid: number;
  /** What the API holds, its garbage collected. */
  gauge(): Promise<Gauge>;
  /** Answers that the API has logged, by status class. */
  answered(): Map<string, number>;
  /** Warnings that the API has logged. */
  warnings(): number;
  /** What is wrong with the API's process or its log; empty when all is well. */
  complaints(): string[];
  close(): Promise<void>;
}

const ALL = ['read', 'jobs:write', 'samples:write'] as const;

export async function startTarget({
  folder,
  requestSeconds,
  worker,
}: {
  /** Where logs go. */
  readonly folder: string;
  readonly requestSeconds: number;
  readonly worker: boolean;
}): Promise<Target> {
  await mkdir(folder, { recursive: true });
  const data = await mkdtemp(join(tmpdir(), 'findery-fuzz-'));
  const redis = await ensureRedis({ dataDir: data, log: () => {} });
  const settings = {
    FINDERY_DATA: data,
    REDIS_URL: redis.url,
    PORT: '0',
    LOG_LEVEL: 'info',
    FINDERY_THREADS: '1',
    FINDERY_REQUEST_SECONDS: String(requestSeconds),
    // Good keys and bad ones come from one address here.
    FINDERY_FAILED_KEYS: '0',
    // Endpoints can be made, and nobody outside is called.
    FINDERY_WEBHOOK_ALLOW: '127.0.0.1',
  };
  const store = await openStore(redis.url, readConfig(settings).redisPrefix, { failFast: true });
  const makeKey = async (tenant: string) => {
    const wanted = { name: tenant, tenant, scopes: [...ALL], limits: NO_LIMITS, expiresAt: null };
    return (await new ApiKeys(store.redis, store.keys).create(wanted, new Date())).secret;
  };
  const keys = { acme: await makeKey('acme'), rival: await makeKey('rival') };
  const log = join(folder, 'api.log');
  const environment = { ...process.env, ...settings };
  const { child, url } = await startApi(environment, log);
  const helper = worker ? await startWorker(environment, join(folder, 'worker.log')) : null;
  return {
    url,
    port: Number(new URL(url).port),
    requestSeconds,
    keys,
    furnish: () => furnish(url, keys.acme, store, data),
    store,
    pid: child.pid ?? 0,
    gauge: () =>
      new Promise((resolve, reject) => {
        if (!child.connected)
          return reject(new Error(`the API has ended: ${child.exitCode ?? child.signalCode}`));
        const patience = setTimeout(() => reject(new Error('the API does not tell what it holds')), 60_000);
        child.once('message', (message) => {
          clearTimeout(patience);
          resolve((message as { gauge: Gauge }).gauge);
        });
        child.send('gauge');
      }),
    answered: () => countAnswers(log),
    warnings: () => readFileSync(log, 'utf8').split('{"level":40').length - 1,
    complaints: () => [
      ...(isAlive(child) ? [] : [`the API ended: ${child.exitCode ?? child.signalCode}`]),
      ...readLog(log),
    ],
    async close() {
      await Promise.all([child, ...(helper ? [helper] : [])].map(end));
      await store.close();
      await redis.stop();
      await rm(data, { recursive: true, force: true });
    },
  };
}

async function startApi(
  environment: NodeJS.ProcessEnv,
  log: string,
): Promise<{ child: ChildProcess; url: string }> {
  const child = fork(fileURLToPath(new URL('../../src/cli/api.ts', import.meta.url)), {
    env: environment,
    execArgv: [
      '--disable-warning=ExperimentalWarning',
      '--expose-gc',
      '--import',
      new URL('./gauge.ts', import.meta.url).href,
    ],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const file = createWriteStream(log);
  child.stdout?.pipe(file, { end: false });
  child.stderr?.pipe(file, { end: false });
  const url = await new Promise<string>((resolve, reject) => {
    let text = '';
    const read = (chunk: Buffer) => {
      text += chunk.toString('utf8');
      const [, found] = /Server listening at (http:\/\/[0-9.:]+)/.exec(text) ?? [];
      if (!found) return;
      child.stdout?.off('data', read);
      resolve(found);
    };
    child.stdout?.on('data', read);
    child.once('exit', (code) => reject(new Error(`the API ended with ${code}; see ${log}`)));
  });
  return { child, url };
}

async function startWorker(environment: NodeJS.ProcessEnv, log: string): Promise<ChildProcess> {
  const child = fork(fileURLToPath(new URL('../../src/cli/worker.ts', import.meta.url)), {
    env: environment,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const file = createWriteStream(log);
  child.stdout?.pipe(file, { end: false });
  child.stderr?.pipe(file, { end: false });
  await new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve());
    child.once('exit', (code) => reject(new Error(`the worker ended with ${code}; see ${log}`)));
  });
  return child;
}

function isAlive({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

async function end(child: ChildProcess): Promise<void> {
  if (!isAlive(child)) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const patience = setTimeout(() => child.kill('SIGKILL'), 20_000);
  await ended;
  clearTimeout(patience);
}

function countAnswers(log: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of readFileSync(log, 'utf8').split('\n')) {
    if (!line.includes('"request completed"')) continue;
    const name = `${String((JSON.parse(line) as { status: number }).status)[0]}xx`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return new Map([...counts].sort());
}

const ERROR = 50;

/**
 * Lines that must not be there: errors, and what is no line of the logger (a crash's stack, a warning of node). Warnings may be there, for
 * a machine that has no time brings some.
 */
function readLog(log: string): string[] {
  return readFileSync(log, 'utf8')
    .split('\n')
    .slice(0, -1) // the last one may not be whole
    .filter((line) => {
      try {
        return (JSON.parse(line) as { level: number }).level >= ERROR;
      } catch {
        return true;
      }
    })
    .map((line) => line.slice(0, 1000));
}
