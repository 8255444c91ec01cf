import { getPriority, setPriority } from 'node:os';
import { RECYCLE_STATUS } from '../../workers/recycling.ts';
import { startWorker } from '../../workers/worker.ts';
import { ConfigError, readConfig } from '../config/config.ts';
import { restartWithLibraries } from './gpu/library-folder.ts';
import { createLogger } from './logger.ts';
import { ensureRedis, START_WAIT_MS } from './redis/ensure-redis.ts';
import { aborted, runMain } from './run-main.ts';

/**
 * Niceness of a worker on the CPU. Graph runs use every core; the niceness lets an API on the same
 * machine answer first.
 */
const NICENESS = 5;

/**
 * Time that a worker may take to requeue its jobs when it ends. Supervisors often kill after 10
 * seconds.
 */
const SHUTDOWN_TIMEOUT_MS = 9000;

/** `npm run worker`: runs queued jobs. Start one process for each GPU, or one for the CPU. */
await runMain(async (stop) => {
  const config = readConfig(process.env);
  if (config.redisUrl === null)
    throw new ConfigError(
      'REDIS_URL is not set; `npm run worker` needs the Redis that the API uses. ' +
        '(`npm start` starts a private Redis.)',
    );
  await restartWithLibraries(config);
  const logger = createLogger(config, 'worker');
  await ensureRedis({
    url: config.redisUrl,
    tls: config,
    dataDir: config.dataFolder,
    log: (line) => logger.warn(line),
    waitMs: START_WAIT_MS,
    stop,
  });
  if (config.executionProviders[0] === 'cpu' && getPriority() < NICENESS) setPriority(NICENESS);
  const worker = await startWorker({ config, redisUrl: config.redisUrl, logger });
  // `npm start` runs the worker as a child with an IPC channel: it waits for this message, and the
  // worker ends when the channel closes.
  process.send?.({ ready: worker.id });
  const orphaned = new AbortController();
  process.on('disconnect', () => orphaned.abort());
  const ended = AbortSignal.any([stop, orphaned.signal]);
  const death = await Promise.race([
    aborted(ended),
    worker.died,
    worker.recycled.then(() => 'recycled' as const),
  ]);
  if (death === 'recycled') {
    await worker.close();
    logger.warn(
      `this process exits with status ${RECYCLE_STATUS} and has to be restarted ` +
        '(npm start and the restart policies of Docker and Kubernetes do so)',
    );
    process.exit(RECYCLE_STATUS);
  }
  if (death) {
    // Other workers continue its jobs from their checkpoints once their leases expire.
    logger.fatal({ err: death }, 'the engine died');
    process.exit(1);
  }
  // While Redis or storage is away, jobs can't be requeued. Then other workers continue them once
  // their leases expire.
  setTimeout(() => {
    logger.warn('jobs could not be requeued in time; other workers continue them from their checkpoints');
    process.exit(1);
  }, SHUTDOWN_TIMEOUT_MS).unref();
  await worker.close();
  process.exit(0);
});
