import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import type { Config } from '../src/config/config.ts';
import { Engine } from '../src/engine/engine.ts';
import { startBackgroundLoop } from '../src/maintenance/background-loop.ts';
import { ChangeFeed } from '../src/redis/change-feed.ts';
import { openResources } from '../src/store/resources.ts';
import { openStore } from '../src/store/store.ts';
import { announceWorker, dismissWorker } from '../src/store/worker-registry.ts';
import { VERSION } from '../src/version.ts';
import type { WorkerContext } from './context.ts';
import { optimize } from './optimize.ts';
import { openQueueWorker } from './queue-worker.ts';
import { Recycling } from './recycling.ts';
import { sample } from './sample.ts';
import { Interruption } from './stop-reason.ts';
import { Throughput } from './throughput.ts';
import { chooseWarmModels, warmWhenIdle } from './warm-models.ts';

/** Batches of samples that one process works on at the same time. */
const SAMPLE_CONCURRENCY = 2;
/** The interval between two announcements of a worker; they expire after ten seconds. */
const HEARTBEAT_MS = 3000;

/** A worker that takes jobs. */
export interface RunningWorker {
  readonly id: string;
  /**
   * Resolves with the reason when the engine has died. Only a new process can continue the work.
   */
  readonly died: Promise<Error>;
  /**
   * Resolves when this process has to end, for want of memory or because its GPU is lost, and a new
   * one has to take its place.
   * The worker has stopped taking work then.
   */
  readonly recycled: Promise<void>;
  /** Gives the work back at its last checkpoints and ends. */
  close(): Promise<void>;
}

/**
 * Starts a worker: opens the engine and takes work from the queues. While it has no work, it warms
 * up the models of FINDERY_WARM.
 * @returns when the worker takes work
 * @throws ConfigError if FINDERY_WARM names a model that is not installed or can't be used
 * @throws Error if no provider of FINDERY_PROVIDERS works on this machine
 */
export async function startWorker({
  config,
  redisUrl,
  logger,
}: {
  readonly config: Config;
  readonly redisUrl: string;
  readonly logger: Logger;
}): Promise<RunningWorker> {
  const startedAt = new Date().toISOString();
  const id = `worker-${randomBytes(6).toString('hex')}`;
  const { catalog, blobs } = await openResources(config, logger);
  const installed = await catalog.now();
  const models = chooseWarmModels(installed, config, logger);
  const engine = await Engine.start(
    {
      executionProviders: [...config.executionProviders],
      deviceId: config.deviceId,
      threads: config.threads,
      batchSize: config.batchSize,
      modelsInMemory: config.modelsInMemory,
    },
    (message) => logger.warn(message),
  );
  const store = await openStore(redisUrl, config.redisPrefix, {
    failFast: false,
    tls: config,
    onError: (error) => logger.warn({ err: error }, 'Redis is away'),
  });
  const cancelFeed = await ChangeFeed.subscribe(store.redis, store.keys.cancels());
  const shutdown = new AbortController();
  const throughput = new Throughput();
  const recycling = new Recycling();
  const context: WorkerContext = {
    store,
    blobs,
    catalog,
    engine,
    cancelFeed,
    throughput,
    recycling,
    logger,
    shutdown: shutdown.signal,
  };

  const current = new Set<string>();
  const { lockSeconds } = config;
  const workers = [
    openQueueWorker(context, 'optimize', {
      concurrency: config.concurrency,
      lockSeconds,
      current,
      process: (jobId, isLastTry, lockLost) => optimize(context, jobId, isLastTry, lockLost),
    }),
    openQueueWorker(context, 'sample', {
      concurrency: SAMPLE_CONCURRENCY,
      lockSeconds,
      current,
      process: (sampleId, isLastTry) => sample(context, sampleId, isLastTry),
    }),
  ];
  await Promise.all(workers.map((worker) => worker.waitUntilReady()));
  const recycled = recycling.requested.then(() => {
    shutdown.abort(new Interruption('shutdown'));
    // Stops the queues at once; otherwise this process would take the work again that it gives
    // back.
    for (const worker of workers) void worker.close();
  });

  const announce = () =>
    announceWorker(store.redis, store.keys, {
      object: 'worker',
      id,
      host: hostname(),
      pid: process.pid,
      version: VERSION,
      startedAt,
      seenAt: new Date().toISOString(),
      device: engine.device.name,
      executionProviders: [...config.executionProviders],
      passedOver: [...engine.device.passedOver],
      threads: config.threads,
      batchSize: config.batchSize,
      reducedBatches: [...engine.reducedBatches()],
      memoryBytes: process.memoryUsage.rss(),
      loaded: engine.loaded(),
      currentJobs: [...current],
      imagesPerSecond: throughput.imagesPerSecond(),
    }).catch((error: unknown) => logger.warn({ err: error }, 'worker could not be announced'));
  await announce();
  const heartbeat = setInterval(announce, HEARTBEAT_MS);
  const stopBackgroundLoop = startBackgroundLoop(store, blobs, logger);
  const warmUp = warmWhenIdle(
    engine,
    { models, catalog: installed, modelsInMemory: config.modelsInMemory },
    { isIdle: () => current.size === 0, stop: shutdown.signal, recycling, logger },
  );
  logger.info(
    { worker: id, models: installed.models.map(({ name }) => name), device: engine.device.name },
    'worker takes jobs',
  );

  return {
    id,
    died: engine.died,
    recycled,
    async close() {
      clearInterval(heartbeat);
      stopBackgroundLoop();
      shutdown.abort(new Interruption('shutdown'));
      await Promise.all(workers.map((worker) => worker.close()));
      await warmUp;
      await dismissWorker(store.redis, store.keys, id).catch(() => {});
      await engine.close();
      await cancelFeed.close();
      await store.close();
    },
  };
}
