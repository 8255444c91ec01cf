import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { RECYCLE_STATUS } from '../../workers/recycling.ts';
import { startApi } from '../api/server.ts';
import type { Config } from '../config/config.ts';
import { libraryEnvironment } from './gpu/library-folder.ts';
import { ensureRedis, START_WAIT_MS } from './redis/ensure-redis.ts';

/** Pause before a worker that exited is restarted. */
const RESTART_DELAY_MS = 500;
/** Time that a worker may take to exit after SIGTERM, before it is killed. */
const SHUTDOWN_TIMEOUT_MS = 15_000;

/** A running service. */
export interface Service {
  /** Base URL of the API. */
  readonly url: string;
  /** Resolves when the worker takes jobs; rejects when it exits before that. */
  readonly workerReady: Promise<void>;
  /** Ends the worker, the API and the private Redis, in this order. */
  close(): Promise<void>;
}

/**
 * Starts API, worker and, if REDIS_URL is not set, a private Redis. The worker runs in a child
 * process, so a crash in a native library does not end the API. A worker that exits is restarted.
 * @param print receives lines for people about Redis
 * @param stop ends the wait for a given Redis that is away
 */
export async function startService({
  config,
  logger,
  print,
  stop,
}: {
  readonly config: Config;
  readonly logger: Logger;
  readonly print: (line: string) => void;
  readonly stop?: AbortSignal;
}): Promise<Service> {
  const redis = await ensureRedis({
    url: config.redisUrl ?? undefined,
    tls: config,
    dataDir: config.dataFolder,
    log: print,
    waitMs: START_WAIT_MS,
    stop,
  });
  try {
    const api = await startApi({ config, redisUrl: redis.url, logger });
    const environment = (await libraryEnvironment(config, process.env)) ?? process.env;
    const worker = superviseWorker(
      { ...environment, REDIS_URL: redis.url, LOG_LEVEL: config.logLevel },
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

/**
 * Starts a worker and restarts it until `stop`. A worker that exits before it was ever ready is not
 * restarted.
 */
function superviseWorker(environment: NodeJS.ProcessEnv, logger: Logger) {
  let stopping = false;
  let child: ChildProcess;
  let restart: NodeJS.Timeout | undefined;
  let wasReady = false;
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => {}); // a rejection that nobody awaits must not end this process

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
      if (!wasReady)
        return ready.reject(new Error('The worker could not start; its error message is above.'));
      if (code === RECYCLE_STATUS)
        logger.warn('the worker needs a new process (its log says why); starting one');
      else logger.error({ code, signal }, 'the worker died; restarting it');
      restart = setTimeout(start, RESTART_DELAY_MS);
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
      const killTimer = setTimeout(() => child.kill('SIGKILL'), SHUTDOWN_TIMEOUT_MS);
      await ended;
      clearTimeout(killTimer);
    },
  };
}
