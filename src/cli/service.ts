import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { RECYCLE_STATUS } from '../../workers/recycling.ts';
import { startApi } from '../api/server.ts';
import type { Config } from '../config/config.ts';
import { ensureRedis } from './redis/ensure-redis.ts';

export interface Service {
  readonly url: string;
  /** Resolves once the worker takes jobs; rejects when it can't. */
  readonly workerReady: Promise<void>;
  close(): Promise<void>;
}

/**
 * API, worker and, unless one is given, a private Redis, on this machine. The worker is a process of its own: what
 * happens to a model's run never takes the API along. A worker that dies is started again.
 */
export async function startService({
  config,
  logger,
  say,
}: {
  readonly config: Config;
  readonly logger: Logger;
  readonly say: (line: string) => void;
}): Promise<Service> {
  const redis = await ensureRedis({
    url: config.redisUrl ?? undefined,
    dataDir: config.dataFolder,
    log: say,
  });
  try {
    const api = await startApi({ config, redisUrl: redis.url, logger });
    const worker = superviseWorker(
      { ...process.env, REDIS_URL: redis.url, LOG_LEVEL: config.logLevel },
      logger,
    );
    return {
      url: api.url,
      workerReady: worker.ready,
      async close() {
        await worker.stop();
        await api.close();
        await redis.stop();
      },
    };
  } catch (error) {
    await redis.stop();
    throw error;
  }
}

function superviseWorker(environment: NodeJS.ProcessEnv, logger: Logger) {
  let stopping = false;
  let child: ChildProcess;
  let restart: NodeJS.Timeout | undefined;
  let wasReady = false;
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => {}); // who waits for it hears it; nobody has to

  const start = () => {
    child = fork(fileURLToPath(new URL('./worker.ts', import.meta.url)), {
      env: environment,
      execArgv: ['--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    child.on('message', () => {
      wasReady = true;
      ready.resolve();
    });
    child.on('exit', (code, signal) => {
      if (stopping) return;
      if (!wasReady) return ready.reject(new Error('The worker could not start; its message is above.'));
      if (code === RECYCLE_STATUS) logger.warn('the worker ran out of memory; starting a fresh one');
      else logger.error({ code, signal }, 'the worker died; starting another one');
      restart = setTimeout(start, 500);
    });
  };
  start();
  return {
    ready: ready.promise,
    async stop() {
      stopping = true;
      clearTimeout(restart);
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const patience = setTimeout(() => child.kill('SIGKILL'), 15_000);
      await ended;
      clearTimeout(patience);
    },
  };
}
