import { DelayedError, type Job, UnrecoverableError, WaitingError, Worker } from 'bullmq';
import { requeueUnfinished } from '../src/jobs/requeue.ts';
import { QUEUES, type QueueName } from '../src/queue/queues.ts';
import type { WorkerContext } from './context.ts';
import { redeliveryDelay } from './interruption.ts';
import { Interruption } from './stop-reason.ts';

/** The data of a queue's entry. Entries of earlier releases have neither tenant nor model. */
type Entry = Job<{ id: string; tenant?: string; model?: string }>;

/** How a queue's entries are processed. */
export interface QueueOptions {
  /** Entries at the same time. */
  readonly concurrency: number;
  /** Seconds after which a worker that no longer renews its lock loses its entry. */
  readonly lockSeconds: number;
  /** Ids of the records that this process works on; each is added and removed here. */
  readonly current: Set<string>;
  /** Called when the work on an entry has ended. */
  readonly onEnd: () => void;
  /**
   * @param isLastTry whether the queue drops the entry after an error
   * @param lockLost aborted when the lock of the entry is lost
   */
  readonly process: (id: string, isLastTry: boolean, lockLost?: AbortSignal) => Promise<void>;
}

/** Starts to process the entries of a queue. */
export function openQueueWorker(context: WorkerContext, name: QueueName, options: QueueOptions): Worker {
  const { store, logger, shutdown } = context;
  const connection = store.redis.duplicate({ maxRetriesPerRequest: null });
  const warn = (err: unknown) => logger.warn({ err, queue: name }, 'queue');

  const processEntry = async (entry: Entry, token?: string, lockLost?: AbortSignal) => {
    const { id } = entry.data;
    const giveWay = () =>
      store.queues.giveWay(name, entry.data, async () => void (await entry.moveToWait(token)));
    // If this fails, the tenant's next entry is only scheduled later; the work goes on.
    if ((await store.queues.begin(name, entry.data).catch(warn)) === false) {
      await giveWay();
      throw new WaitingError();
    }
    options.current.add(id);
    try {
      await options.process(id, entry.attemptsMade + 1 >= (entry.opts.attempts ?? 1), lockLost);
    } catch (error) {
      if (error instanceof Interruption && error.kind === 'preempted') {
        await giveWay();
        throw new WaitingError();
      }
      const delay = error instanceof UnrecoverableError ? null : redeliveryDelay(error, shutdown);
      if (delay === null) throw error;
      await entry.moveToDelayed(Date.now() + delay, token);
      throw new DelayedError();
    } finally {
      options.current.delete(id);
      options.onEnd();
      // If this fails, `repair` schedules the tenant's next entry.
      if (name === 'optimize') await store.queues.finish(name, entry.data).catch(warn);
    }
  };

  const worker = new Worker<Entry['data']>(QUEUES[name], processEntry, {
    connection,
    prefix: store.keys.queuePrefix(),
    concurrency: options.concurrency,
    lockDuration: options.lockSeconds * 1000,
    stalledInterval: (options.lockSeconds * 1000) / 2,
    // `optimize` counts attempts without progress; the number of dead workers does not matter.
    maxStalledCount: 1e9,
  });
  worker.on('closed', () => connection.disconnect());
  // Another worker has the entry or will have it soon, so this worker drops the work.
  worker.on('lockRenewalFailed', (ids: string[]) => {
    for (const id of ids) worker.cancelJob(id);
  });
  // A job that was resumed or retried while its entry was still here needs a new entry.
  const requeue = ({ data }: Entry) => requeueUnfinished(store, data.id).catch(warn);
  worker.on('completed', requeue);
  worker.on('failed', (entry) => entry && requeue(entry));
  worker.on('error', warn);
  return worker;
}
