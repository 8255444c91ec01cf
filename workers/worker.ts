import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import type { Config } from '../src/config/config.ts';
import { Engine } from '../src/engine/engine.ts';
import { startBackgroundLoop } from '../src/maintenance/background-loop.ts';
import { Shares } from '../src/queue/shares.ts';
import { ChangeFeed } from '../src/redis/change-feed.ts';
import { openResources } from '../src/store/resources.ts';
import { openStore } from '../src/store/store.ts';
import { announceWorker, dismissWorker } from '../src/store/worker-registry.ts';
import { openTracer } from '../src/tracing/tracer.ts';
import { VERSION } from '../src/version.ts';
import type { WorkerContext } from './context.ts';
import { watchGpuMemory } from './metrics/gpu-memory.ts';
import { measureWrites } from './metrics/measured-blobs.ts';
import { startMetricsServer } from './metrics/metrics-server.ts';
import { WorkerMetrics } from './metrics/worker-metrics.ts';
import { optimize } from './optimize.ts';
import { openQueueWorker } from './queue-worker.ts';
import { Recycling } from './recycling.ts';
import { sample } from './sample.ts';
import { ShareHelper } from './shares/share-helper.ts';
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
  const { catalog, blobs: plainBlobs } = await openResources(config, logger);
  const metrics = new WorkerMetrics();
  const blobs = measureWrites(plainBlobs, metrics);
  const metricsServer = await startMetrics(config, metrics, logger);
  const installed = await catalog.now();
  const models = chooseWarmModels(installed, config, logger);
  const engine = await Engine.start(
    {
      executionProviders: [...config.executionProviders],
      deviceId: config.deviceId,
      threads: config.threads,
      batchSize: config.batchSize,
      modelsInMemory: config.modelsInMemory,
      sharedBatches: { auto: undefined, on: true, off: false }[config.sharedBatches],
    },
    (message) => logger.warn(message),
  );
  engine.onMeasurements = (measurements) => metrics.addMeasurements(measurements);
  const gpuMemory = watchGpu(engine, config, metrics);
  const { modelsInMemory } = config;
  const warmUp = (idle: IdleWorker) =>
    warmWhenIdle(engine, { models, catalog: installed, modelsInMemory }, { ...idle, logger });
  const worker = await takeWork({ config, redisUrl, logger, engine, catalog, blobs, metrics, warmUp });
  return {
    ...worker,
    async close() {
      gpuMemory?.stop();
      await metricsServer?.close();
      await worker.close();
    },
  };
}

/** What a worker needs of its engine. A simulation has an engine without graphs. */
export type WorkerEngine = WorkerContext['engine'] &
  Pick<Engine, 'device' | 'reducedBatches' | 'loaded' | 'died' | 'close'>;

/** What decides when a worker warms up. */
export interface IdleWorker {
  readonly isIdle: () => boolean;
  readonly stop: AbortSignal;
  readonly recycling: Recycling;
}

/**
 * Connects an engine to the queues.
 * @returns when the worker takes work
 */
export async function takeWork({
  config,
  redisUrl,
  logger,
  engine,
  catalog,
  blobs,
  metrics,
  warmUp,
}: {
  readonly config: Config;
  readonly redisUrl: string;
  readonly logger: Logger;
  readonly engine: WorkerEngine;
  /** Prepares the engine while it has no work. */
  readonly warmUp?: (idle: IdleWorker) => Promise<void>;
} & Pick<WorkerContext, 'catalog' | 'blobs' | 'metrics'>): Promise<RunningWorker> {
  const startedAt = new Date().toISOString();
  const id = `worker-${randomBytes(6).toString('hex')}`;
  const store = await openStore(redisUrl, config.redisPrefix, {
    failFast: false,
    tls: config,
    hearsChanges: false,
    onError: (error) => logger.warn({ err: error }, 'Redis is away'),
  });
  const [cancelFeed, shareFeed] = await Promise.all([
    ChangeFeed.subscribe(store.redis, store.keys.cancels()),
    ChangeFeed.subscribe(store.redis, store.keys.shareMessages()),
  ]);
  const tracer = await openTracer(config, 'findery-worker');
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
    metrics,
    recycling,
    sharing: {
      shares: new Shares(store.redis, store.keys),
      feed: shareFeed,
      workerId: id,
      kind: `${VERSION} ${engine.device.provider}`,
      batchSize: config.batchSize,
    },
    logger,
    tracer,
    sliceSeconds: config.sliceSeconds,
    shutdown: shutdown.signal,
  };

  const current = new Set<string>();
  metrics.watch({ current: () => current, loaded: () => engine.loaded().length });
  const helper = new ShareHelper(context, () => current.size === 0);
  const onEnd = () => helper.wakeSoon();
  const { lockSeconds } = config;
  const workers = [
    openQueueWorker(context, 'optimize', {
      concurrency: config.concurrency,
      lockSeconds,
      current,
      onEnd,
      process: (jobId, isLastTry, lockLost) => optimize(context, jobId, isLastTry, lockLost),
    }),
    openQueueWorker(context, 'sample', {
      concurrency: SAMPLE_CONCURRENCY,
      lockSeconds,
      current,
      onEnd,
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
      currentJobs: [...new Set([...current, ...helper.currentJobs])],
      imagesPerSecond: throughput.imagesPerSecond(),
    }).catch((error: unknown) => logger.warn({ err: error }, 'worker could not be announced'));
  await announce();
  const heartbeat = setInterval(announce, HEARTBEAT_MS);
  helper.wakeSoon();
  const stopBackgroundLoop = startBackgroundLoop(store, blobs, logger);
  const { models } = await catalog.now();
  const warming = warmUp?.({
    isIdle: () => current.size === 0 && helper.currentJobs.length === 0,
    stop: shutdown.signal,
    recycling,
  });
  logger.info(
    { worker: id, models: models.map(({ name }) => name), device: engine.device.name },
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
      await Promise.all([helper.close(), ...workers.map((worker) => worker.close())]);
      await warming;
      await dismissWorker(store.redis, store.keys, id).catch(() => {});
      await engine.close();
      await cancelFeed.close();
      await shareFeed.close();
      await tracer?.close();
      await store.close();
    },
  };
}

/** Serves the metrics if there is a port for them. */
async function startMetrics({ metricsPort, metricsHost }: Config, metrics: WorkerMetrics, logger: Logger) {
  if (metricsPort === null) return null;
  const server = await startMetricsServer({ host: metricsHost, port: metricsPort }, () => metrics.render());
  logger.info({ url: server.url }, 'metrics');
  return server;
}

/** Watches the memory of the card if graphs run on one of NVIDIA. */
function watchGpu({ device }: Engine, { deviceId }: Config, metrics: WorkerMetrics) {
  if (device.provider !== 'cuda' && device.provider !== 'tensorrt') return null;
  const watch = watchGpuMemory(deviceId);
  metrics.watchGpu(watch.latest);
  return watch;
}
