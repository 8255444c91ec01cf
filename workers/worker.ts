import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { DelayedError, type Job, Worker } from 'bullmq';
import type { Logger } from 'pino';
import type { Config } from '../src/config.ts';
import { Engine } from '../src/engine/engine.ts';
import { Changes } from '../src/jobs/changes.ts';
import { chooseTerms } from '../src/jobs/choices.ts';
import { QUEUES, type QueueName } from '../src/jobs/queues.ts';
import { openResources } from '../src/jobs/resources.ts';
import { openStore } from '../src/jobs/store.ts';
import { announceWorker, dismissWorker } from '../src/jobs/worker-registry.ts';
import { graphRewards } from '../src/rewards/weigh.ts';
import { VERSION } from '../src/version.ts';
import type { WorkerContext } from './context.ts';
import { Interruption } from './interruption.ts';
import { optimize } from './optimize.ts';
import { sample } from './sample.ts';
import { Throughput } from './throughput.ts';

export interface RunningWorker {
  readonly id: string;
  /** Resolves with the reason when the engine has died: this process can do no more work, another one has to. */
  readonly died: Promise<Error>;
  /** Gives the work back from its last checkpoint and ends. */
  close(): Promise<void>;
}

/**
 * Starts a worker: the engine, warmed up on the first model, then the queues. Resolves when it takes work.
 * @throws Error when no model or reward can be used, or the engine can't start
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
  const engine = await Engine.start({
    executionProviders: [...config.executionProviders],
    threads: config.threads,
    batchSize: config.batchSize,
    modelsInMemory: config.modelsInMemory,
  });
  const installed = await catalog.now();
  if (installed.models.length > 0) {
    const [model] = installed.models;
    const terms = chooseTerms(installed, model.defaults.reward ?? undefined, '/reward');
    await engine.open(model, graphRewards(terms), { warmUp: true });
  }

  const store = await openStore(redisUrl, config.redisPrefix, {
    failFast: false,
    onError: (error) => logger.warn({ err: error }, 'Redis is away'),
  });
  const cancels = await Changes.subscribe(store.redis, store.keys.cancels());
  const shutdown = new AbortController();
  const throughput = new Throughput();
  const context: WorkerContext = {
    store,
    blobs,
    catalog,
    engine,
    cancels,
    throughput,
    logger,
    shutdown: shutdown.signal,
  };
  const current = new Set<string>();

  const serve = (
    name: QueueName,
    concurrency: number,
    process: (job: Job<{ id: string }>, lastTry: boolean, lock?: AbortSignal) => Promise<void>,
  ) => {
    const connection = store.redis.duplicate({ maxRetriesPerRequest: null });
    const worker = new Worker<{ id: string }>(
      QUEUES[name],
      async (job, token, lock) => {
        current.add(job.data.id);
        try {
          await process(job, job.attemptsMade + 1 >= (job.opts.attempts ?? 1), lock);
        } catch (error) {
          if (!shutdown.signal.aborted && !(error instanceof Interruption && error.kind === 'shutdown')) throw error;
          // Given back as it was; another worker takes it at once.
          await job.moveToDelayed(Date.now(), token);
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
    worker.on('error', (error) => logger.warn({ err: error, queue: name }, 'queue'));
    return worker;
  };
  const workers = [
    serve('optimize', config.concurrency, (job, lastTry, lock) => optimize(context, job.data.id, lastTry, lock)),
    serve('sample', 2, (job, lastTry) => sample(context, job.data.id, lastTry)),
  ];
  await Promise.all(workers.map((worker) => worker.waitUntilReady()));

  const announce = () =>
    announceWorker(store.redis, store.keys, {
      object: 'worker',
      id,
      host: hostname(),
      pid: process.pid,
      version: VERSION,
      startedAt,
      seenAt: new Date().toISOString(),
      device: config.executionProviders[0],
      executionProviders: [...config.executionProviders],
      threads: config.threads,
      batchSize: config.batchSize,
      memoryBytes: process.memoryUsage.rss(),
      loaded: engine.loaded(),
      currentJobs: [...current],
      imagesPerSecond: throughput.imagesPerSecond(),
    }).catch((error: unknown) => logger.warn({ err: error }, 'worker could not be announced'));
  await announce();
  const heartbeat = setInterval(announce, 3000);
  logger.info(
    { worker: id, models: installed.models.map(({ name }) => name), providers: config.executionProviders },
    'worker takes jobs',
  );

  return {
    id,
    died: engine.died,
    async close() {
      clearInterval(heartbeat);
      shutdown.abort(new Interruption('shutdown'));
      await Promise.all(workers.map((worker) => worker.close()));
      await dismissWorker(store.redis, store.keys, id).catch(() => {});
      await engine.close();
      await cancels.close();
      await store.close();
    },
  };
}
