import { getPriority, setPriority } from 'node:os';
import { RECYCLE_STATUS } from '../../workers/recycling.ts';
import { startWorker } from '../../workers/worker.ts';
import { ConfigError, readConfig } from '../config/config.ts';
import { createLogger } from './logger.ts';
import { ensureRedis } from './redis/ensure-redis.ts';
import { aborted, runMain } from './run-main.ts';

/** Graph runs on the CPU take every core they can have; at this niceness an API on the same machine goes first. */
const NICENESS = 5;

/** Milliseconds that a worker which is told to end may take to give its work back; supervisors often kill after ten seconds. */
const PATIENCE = 9000;

/** `npm run worker`: takes jobs from the queues. One process per GPU, or one for the CPU. */
await runMain(async (stop) => {
  const config = readConfig(process.env);
  if (config.redisUrl === null)
    throw new ConfigError(
      'REDIS_URL is not set; `npm run worker` needs the Redis that the API uses. (`npm start` brings its own.)',
    );
  // Says at once what is wrong with it; later the service waits while Redis is away.
  await ensureRedis({ url: config.redisUrl, dataDir: config.dataFolder, log: () => {} });
  if (config.executionProviders[0] === 'cpu' && getPriority() < NICENESS) setPriority(NICENESS);
  const logger = createLogger(config, 'worker');
  const worker = await startWorker({ config, redisUrl: config.redisUrl, logger });
  // A parent that started it with a channel (serve.ts) wants to know, and its end is the worker's end too.
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
      `out of memory: this process ends with status ${RECYCLE_STATUS}, and a fresh one has to take its place (npm start, Docker's and Kubernetes' restart policies see to it)`,
    );
    process.exit(RECYCLE_STATUS);
  }
  if (death) {
    // Its jobs go on elsewhere from their checkpoints, as after any other end.
    logger.fatal({ err: death }, 'the engine died');
    process.exit(1);
  }
  // What can't be given back in time, because Redis or storage is away, goes on elsewhere once its lock has run out.
  setTimeout(() => {
    logger.warn('work could not be given back in time; it goes on elsewhere from its last checkpoint');
    process.exit(1);
  }, PATIENCE).unref();
  await worker.close();
  process.exit(0);
});
