import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { DelayedError, type Job, UnrecoverableError, Worker } from 'bullmq';
import type { Logger } from 'pino';
import type { Config } from '../src/config/config.ts';
import { Engine } from '../src/engine/engine.ts';
import { requeueUnfinished } from '../src/jobs/requeue.ts';
import { startBackgroundLoop } from '../src/maintenance/background-loop.ts';
import { QUEUES, type QueueName } from '../src/queue/queues.ts';
import { ChangeFeed } from '../src/redis/change-feed.ts';
import { openResources } from '../src/store/resources.ts';
import { openStore } from '../src/store/store.ts';
import { announceWorker, dismissWorker } from '../src/store/worker-registry.ts';
import { VERSION } from '../src/version.ts';
import type { WorkerContext } from './context.ts';
import { Interruption } from './interruption.ts';
import { optimize } from './optimize.ts';
import { Recycling } from './recycling.ts';
import { sample } from './sample.ts';
import { STORAGE_PAUSE } from './storage-patience.ts';
import { Throughput } from './throughput.ts';
import { warmModels } from './warm-models.ts';

export interface RunningWorker {
  readonly id: string;
  /** Resolves with the reason when the engine has died: this process can do no more work, another one has to. */
  readonly died: Promise<Error>;
  /** Resolves when this process is to end for want of memory, so that a fresh one takes its place; it takes no more work then. */
  readonly recycled: Promise<void>;
  /** Gives the work back from its last checkpoint and ends. */
  close(): Promise<void>;
}

/**
 * Starts a worker: the engine, warmed up on the models that FINDERY_WARM names, then the queues. Resolves when it takes work.
 * @throws Error when FINDERY_WARM names no model or one that can't be used, or no provider of FINDERY_PROVIDERS works here
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
  const id = `${hostname()}-${process.pid}-${randomBytes(3).toString('hex')}`;
  const { catalog, blobs } = await openResources(config, logger);
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
  const installed = await catalog.now();
  await warmModels(engine, installed, config, logger).catch(async (error: unknown) => {
    // Its thread would keep the process.
    await engine.close();
    throw error;
  });

  const store = await openStore(redisUrl, config.redisPrefix, {
    failFast: false,
    onError: (error) => logger.warn({ err: error }, 'Redis is away'),
  });
  const cancels = await ChangeFeed.subscribe(store.redis, store.keys.cancels());
  const shutdown = new AbortController();
  const throughput = new Throughput();
  const recycling = new Recycling();
  const context: WorkerContext = {
    store,
    blobs,
    catalog,
    engine,
    cancels,
    throughput,
    recycling,
    logger,
    shutdown: shutdown.signal,
  };
  const current = new Set<string>();

  const serve = (
    name: QueueName,
    concurrency: number,
    process: (
      job: Job<{ id: string; tenant?: string }>,
      lastTry: boolean,
      lock?: AbortSignal,
    ) => Promise<void>,
  ) => {
    const connection = store.redis.duplicate({ maxRetriesPerRequest: null });
    const worker = new Worker<{ id: string; tenant?: string }>(
      QUEUES[name],
      async (job, token, lock) => {
        current.add(job.data.id);
        try {
          // The work is not to suffer: a turn that is passed on late is no loss.
          await store.queues
            .started(name, job.data)
            .catch((error: unknown) => logger.warn({ err: error }, 'turn'));
          await process(job, job.attemptsMade + 1 >= (job.opts.attempts ?? 1), lock);
        } catch (error) {
          const reason = error instanceof Interruption ? error.kind : null;
          const isGivenBack = reason !== null && ['shutdown', 'memory', 'paused', 'storage'].includes(reason);
          if ((!shutdown.signal.aborted && !isGivenBack) || error instanceof UnrecoverableError) throw error;
          // Given back as it was; another worker takes it at once, or when storage may be there again.
          await job.moveToDelayed(Date.now() + (reason === 'storage' ? STORAGE_PAUSE : 0), token);
          throw new DelayedError();
        } finally {
          current.delete(job.data.id);
        }
      },
      {
        connection,
        prefix: store.keys.queues(),
        concurrency,
        lockDuration: config.lockSeconds * 1000,
        stalledInterval: (config.lockSeconds * 1000) / 2,
        // Whether a job kills its workers is judged by its progress (see optimize.ts), not by how often they died.
        maxStalledCount: 1e9,
      },
    );
    worker.on('closed', () => connection.disconnect());
    // A lock that is lost is another worker's, or soon will be: the work is dropped, not finished in vain.
    worker.on('lockRenewalFailed', (ids: string[]) => {
      for (const lost of ids) worker.cancelJob(lost);
    });
    // What was resumed or tried again while its entry was still here has to get a new one.
    const letGo = ({ data }: { readonly data: { readonly id: string } }) =>
      requeueUnfinished(store, data.id).catch((error: unknown) =>
        logger.warn({ err: error, queue: name }, 'queue'),
      );
    worker.on('completed', letGo);
    worker.on('failed', (job) => job && letGo(job));
    worker.on('error', (error) => logger.warn({ err: error, queue: name }, 'queue'));
    return worker;
  };
  const workers = [
    serve('optimize', config.concurrency, (job, lastTry, lock) =>
      optimize(context, job.data.id, lastTry, lock),
    ),
    serve('sample', 2, (job, lastTry) => sample(context, job.data.id, lastTry)),
  ];
  await Promise.all(workers.map((worker) => worker.waitUntilReady()));
  // At once, so that it does not take the work again that it gives back.
  const recycled = recycling.asked.then(() => {
    shutdown.abort(new Interruption('shutdown'));
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
  const heartbeat = setInterval(announce, 3000);
  const endUpkeep = startBackgroundLoop(store, blobs, logger);
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
      endUpkeep();
      shutdown.abort(new Interruption('shutdown'));
      await Promise.all(workers.map((worker) => worker.close()));
      await dismissWorker(store.redis, store.keys, id).catch(() => {});
      await engine.close();
      await cancels.close();
      await store.close();
    },
  };
}
