import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { type RunningApi, startApi } from '../../src/api/server.ts';
import { ensureRedis } from '../../src/cli/redis/ensure-redis.ts';
import { readConfig } from '../../src/config/config.ts';

/** A service for a test: Redis and API in this process, workers in processes that can be killed. */
export interface TestService {
  readonly url: string;
  readonly api: RunningApi;
  /** Environment of the workers. */
  readonly environment: NodeJS.ProcessEnv;
  /**
   * Starts a worker and waits until it takes jobs.
   * @param settings of this worker alone
   */
  startWorker(settings?: NodeJS.ProcessEnv): Promise<ChildProcess>;
  close(): Promise<void>;
}

/**
 * Starts Redis and API. Uses the Redis of REDIS_URL if it is set.
 * @param environment settings of API and workers that differ from the tests' defaults; REDIS_URL
 *   among them comes before that of this process
 */
export async function startTestService(
  environment: { readonly [name: string]: string } = {},
): Promise<TestService> {
  const folder = await mkdtemp(join(tmpdir(), 'findery-test-'));
  const redis = await ensureRedis({
    url: environment.REDIS_URL ?? process.env.REDIS_URL,
    dataDir: folder,
    log: () => {},
  });
  const settings = {
    FINDERY_DATA: folder,
    FINDERY_REDIS_PREFIX: `test-${process.pid}-${Date.now()}`,
    FINDERY_LOCK_SECONDS: '2',
    LOG_LEVEL: 'error',
    PORT: '0',
    ...environment,
  };
  const config = readConfig(settings);
  const api = await startApi({ config, redisUrl: redis.url, logger: pino({ level: 'silent' }) });
  const workers: ChildProcess[] = [];
  const inherited = { ...process.env, ...settings, REDIS_URL: redis.url };
  return {
    url: api.url,
    api,
    environment: inherited,
    async startWorker(settings = {}) {
      const worker = fork(fileURLToPath(new URL('../../src/cli/worker.ts', import.meta.url)), {
        env: { ...inherited, ...settings },
        execArgv: ['--disable-warning=ExperimentalWarning'],
      });
      workers.push(worker);
      await new Promise<void>((resolve, reject) => {
        worker.once('message', () => resolve());
        worker.once('exit', (code) => reject(new Error(`the worker exited with ${code}`)));
      });
      return worker;
    },
    async close() {
      await Promise.all(workers.map(terminate));
      await api.close();
      await redis.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/**
 * Sends SIGTERM and waits until the process has exited.
 * @returns exit status; null: a signal ended it
 */
export async function terminate(worker: ChildProcess): Promise<number | null> {
  if (worker.exitCode !== null || worker.signalCode !== null) return worker.exitCode;
  const ended = new Promise<number | null>((resolve) => worker.once('exit', resolve));
  worker.kill('SIGTERM');
  return ended;
}
