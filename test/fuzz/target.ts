import { type ChildProcess, fork } from 'node:child_process';
import { createWriteStream, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureRedis } from '../../src/cli/redis/ensure-redis.ts';
import { readConfig } from '../../src/config/config.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { ApiKeys, NO_LIMITS, SCOPES } from '../../src/tenancy/api-keys.ts';
import { createResources, type Resources } from './resources.ts';

/** Memory of a process in bytes, and its number of open file descriptors. */
export interface ProcessMemory {
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
  readonly files: number;
}

/**
 * The service under attack: a private Redis, an API as `npm run api` starts it, and perhaps a
 * worker.
 */
export interface Target {
  readonly url: string;
  readonly port: number;
  /** Seconds in which a complete request has to arrive (FINDERY_REQUEST_SECONDS). */
  readonly requestSeconds: number;
  /** API keys of two tenants. */
  readonly keys: { readonly acme: string; readonly rival: string };
  /** Ids of these keys. */
  readonly keyIds: readonly string[];
  /**
   * Creates one resource of each kind for acme. Call it again when attacks may have deleted them.
   */
  createResources(): Promise<Resources>;
  readonly store: Store;
  /** Process number of the API. */
  readonly pid: number;
  /** Memory of the API after a garbage collection. */
  measureMemory(): Promise<ProcessMemory>;
  /** Number of responses in the log of the API, by status class. */
  countResponses(): Map<string, number>;
  /** Number of warnings in the log of the API. */
  countWarnings(): number;
  /** Errors in the log of the API, and its exit if it has exited. None: all is well. */
  listErrors(): string[];
  close(): Promise<void>;
}

/** Time that a process may take to exit after SIGTERM, before it is killed. */
const SHUTDOWN_TIMEOUT_MS = 20_000;
/** All scopes but the one that includes other tenants. */
const TENANT_SCOPES = SCOPES.filter((scope) => scope !== 'admin');
/** Keys that attacks may change or delete. */
const SPARE_KEYS = 10;

/** Starts a service in a temporary folder. */
export async function startTarget({
  folder,
  requestSeconds,
  worker,
}: {
  /** Folder of the logs. */
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
    // Valid and invalid keys come from one address.
    FINDERY_FAILED_KEYS: '0',
    // Webhook endpoints can be created, and no host outside is called.
    FINDERY_WEBHOOK_ALLOW: '127.0.0.1',
  };
  const store = await openStore(redis.url, readConfig(settings).redisPrefix, { failFast: true });
  const createKey = async (tenant: string) => {
    const wanted = { name: tenant, tenant, scopes: TENANT_SCOPES, limits: NO_LIMITS, expiresAt: null };
    return new ApiKeys(store.redis, store.keys).create(wanted, new Date());
  };
  const [acme, rival] = [await createKey('acme'), await createKey('rival')];
  for (let i = 0; i < SPARE_KEYS; i++) await createKey('acme');
  const log = join(folder, 'api.log');
  const environment = { ...process.env, ...settings };
  const { child, url } = await startApi(environment, log);
  const helper = worker ? await startWorker(environment, join(folder, 'worker.log')) : null;
  return {
    url,
    port: Number(new URL(url).port),
    requestSeconds,
    keys: { acme: acme.secret, rival: rival.secret },
    keyIds: [acme.key.id, rival.key.id],
    createResources: () => createResources(url, acme.secret, store, data),
    store,
    pid: child.pid ?? 0,
    measureMemory: () =>
      new Promise((resolve, reject) => {
        if (!child.connected)
          return reject(new Error(`the API has exited: ${child.exitCode ?? child.signalCode}`));
        const timer = setTimeout(() => reject(new Error('the API did not report its memory')), 60_000);
        child.once('message', (message) => {
          clearTimeout(timer);
          resolve((message as { memory: ProcessMemory }).memory);
        });
        child.send('report-memory');
      }),
    countResponses: () => countByStatusClass(log),
    countWarnings: () => readFileSync(log, 'utf8').split('{"level":40').length - 1,
    listErrors: () => [
      ...(isAlive(child) ? [] : [`the API exited: ${child.exitCode ?? child.signalCode}`]),
      ...findErrors(log),
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
      new URL('./report-memory.ts', import.meta.url).href,
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
    child.once('exit', (code) => reject(new Error(`the API exited with ${code}; see ${log}`)));
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
    child.once('exit', (code) => reject(new Error(`the worker exited with ${code}; see ${log}`)));
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
  const killTimer = setTimeout(() => child.kill('SIGKILL'), SHUTDOWN_TIMEOUT_MS);
  await ended;
  clearTimeout(killTimer);
}

function countByStatusClass(log: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of readFileSync(log, 'utf8').split('\n')) {
    if (!line.includes('"request completed"')) continue;
    const name = `${String((JSON.parse(line) as { status: number }).status)[0]}xx`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return new Map([...counts].sort());
}

/** pino's number of the level `error`. */
const ERROR_LEVEL = 50;

/**
 * Lines of a log that must not occur: errors, and lines that the logger did not write, such as a
 * stack trace or a warning of Node. Warnings are allowed, because a busy machine causes some.
 */
function findErrors(log: string): string[] {
  return readFileSync(log, 'utf8')
    .split('\n')
    .slice(0, -1) // the last line may be incomplete
    .filter((line) => {
      try {
        return (JSON.parse(line) as { level: number }).level >= ERROR_LEVEL;
      } catch {
        return true;
      }
    })
    .map((line) => line.slice(0, 1000));
}
