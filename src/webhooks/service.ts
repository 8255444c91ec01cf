import { DelayedError, type Job, Worker } from 'bullmq';
import type { Logger } from 'pino';
import { AllowedTargets } from '../config/allowed-targets.ts';
import type { Config } from '../config/config.ts';
import { OUTBOX_CHANGED } from '../records/outbox-notice.ts';
import type { ChangeFeed } from '../redis/change-feed.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { ConcurrencyLimiter } from './concurrency-limiter.ts';
import { type DeliveryContext, deliver, PostponedError, RetryLaterError } from './deliver.ts';
import { type DispatchContext, drainOutbox } from './dispatch.ts';
import { type QueuedDelivery, WEBHOOK_QUEUE } from './queue.ts';
import { requeueAllLost, requeueWaiting } from './requeue-lost.ts';
import { type Resolve, resolveBySystem } from './resolve-target.ts';
import type { WebhookStore } from './store.ts';
import { trimDeliveries } from './trim.ts';

/** The outbox is drained at least in this interval, because a message about it can be missed. */
const DRAIN_INTERVAL_MS = 5_000;
const MAINTENANCE_INTERVAL_MS = 60_000;
const LOST_FAILURE = 'lost webhook deliveries could not be queued';
/** Deliveries of one process at the same time. */
const CONCURRENCY = 64;
/** Mean delay of a postponed delivery; the actual delay is 50 to 150 % of it. */
const POSTPONE_MS = { slow: 20_000, full: 2_000 } as const;
/** Delay after an error that is not the receiver's, such as an unreachable Redis. */
const INTERNAL_RETRY_MS = 2_000;
/** How long `close` waits for Redis. */
const CLOSE_TIMEOUT_MS = 2_000;

/** The part of the store that webhooks need. */
export interface WebhookServiceContext extends DispatchContext {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly changes: ChangeFeed;
}

/** The running webhook service of this process. */
export interface RunningWebhooks {
  /** Returns the deliveries under way to the queue and stops. */
  close(): Promise<void>;
}

/** Starts to create deliveries from events and to send them. Any number of processes may do so. */
export function startWebhooks({
  config,
  store,
  logger,
  resolve = resolveBySystem,
}: {
  readonly config: Pick<Config, 'webhookAllow' | 'webhookRetrySeconds' | 'lockSeconds'>;
  readonly store: WebhookServiceContext;
  readonly logger: Logger;
  readonly resolve?: Resolve;
}): RunningWebhooks {
  const closing = new AbortController();
  const connection = store.redis.duplicate({ maxRetriesPerRequest: null, commandTimeout: undefined });
  connection.on('error', () => {}); // the connection it was copied from logs the same error
  const context = {
    webhooks: store.webhooks,
    allowed: new AllowedTargets(config.webhookAllow),
    resolve,
    limiter: new ConcurrencyLimiter(),
    firstRetrySeconds: config.webhookRetrySeconds,
    logger,
    closing: closing.signal,
  };
  const worker = startWorker(context, connection, store.keys.queuePrefix(), config.lockSeconds);
  const outbox = startDraining(store, config.lockSeconds, logger, closing.signal);
  const maintain = (task: (webhooks: WebhookStore) => Promise<unknown>, failure: string) =>
    void task(store.webhooks).catch((error: unknown) => {
      if (!closing.signal.aborted) logger.warn({ err: error }, failure);
    });
  const trim = (webhooks: WebhookStore) => trimDeliveries(webhooks, Date.now());
  maintain(requeueAllLost, LOST_FAILURE);
  const maintenance = setInterval(() => {
    maintain(trim, 'old webhook deliveries could not be removed');
    maintain(requeueWaiting, LOST_FAILURE);
  }, MAINTENANCE_INTERVAL_MS);

  return {
    async close() {
      closing.abort(new Error('the process ends'));
      clearInterval(maintenance);
      await outbox.stop();
      const timeout = new Promise((resolve) => setTimeout(resolve, CLOSE_TIMEOUT_MS).unref());
      await Promise.race([worker.close().catch(() => {}), timeout]);
      connection.disconnect();
    },
  };
}

/** Starts the BullMQ worker that makes the attempts. */
function startWorker(
  context: DeliveryContext,
  connection: Redis,
  prefix: string,
  lockSeconds: number,
): Worker<QueuedDelivery> {
  const worker = new Worker<QueuedDelivery>(
    WEBHOOK_QUEUE,
    (job, token) => processEntry(context, job, token),
    {
      connection,
      prefix,
      concurrency: CONCURRENCY,
      lockDuration: lockSeconds * 1000,
      stalledInterval: (lockSeconds * 1000) / 2,
      // A process that dies during a delivery does not count against the delivery.
      maxStalledCount: 1e9,
      settings: {
        backoffStrategy: (_attempts, _type, error) =>
          error instanceof RetryLaterError ? error.delayMs : INTERNAL_RETRY_MS,
      },
    },
  );
  worker.on('error', (error) => {
    if (!context.closing.aborted) context.logger.warn({ err: error }, 'webhook queue failed');
  });
  return worker;
}

/**
 * Makes one attempt. Postponed and interrupted entries, and those whose attempt could not be
 * recorded, return to the queue with the same attempt number: an error of Redis at the last attempt
 * must not drop the entry of a pending delivery.
 */
async function processEntry(
  context: DeliveryContext,
  job: Job<QueuedDelivery>,
  token: string | undefined,
): Promise<void> {
  try {
    const attempt = job.attemptsMade + 1;
    await deliver(context, job.data.id, attempt, attempt >= (job.opts.attempts ?? 1));
  } catch (error) {
    if (error instanceof RetryLaterError) throw error;
    if (!(error instanceof PostponedError) && !context.closing.aborted)
      context.logger.warn({ err: error, deliveryId: job.data.id }, 'a webhook attempt was not recorded');
    await job.moveToDelayed(Date.now() + delayOf(error, context.closing), token);
    throw new DelayedError();
  }
}

/** Milliseconds until an entry is tried again whose attempt does not count. */
function delayOf(error: unknown, closing: AbortSignal): number {
  if (error instanceof PostponedError) return POSTPONE_MS[error.reason] * (0.5 + Math.random());
  return closing.aborted ? 0 : INTERNAL_RETRY_MS;
}

/** Drains the outbox now, after every message about it, and in an interval. */
function startDraining(
  store: WebhookServiceContext,
  leaseSeconds: number,
  logger: Logger,
  closing: AbortSignal,
): { stop(): Promise<void> } {
  let draining: Promise<void> = Promise.resolve();
  let isPending = false;
  /** Drains are serialized. Requests during a drain lead to one more after it. */
  const drain = () => {
    if (isPending || closing.aborted) return;
    isPending = true;
    draining = draining
      .then(() => {
        isPending = false;
        return closing.aborted ? 0 : drainOutbox(store, leaseSeconds);
      })
      .then(
        () => {},
        (error: unknown) => {
          if (!closing.aborted)
            logger.warn({ err: error }, 'the outbox could not be drained; it will be retried');
        },
      );
  };
  const unsubscribe = store.changes.on(OUTBOX_CHANGED, drain);
  drain();
  const timer = setInterval(drain, DRAIN_INTERVAL_MS);
  return {
    async stop() {
      unsubscribe();
      clearInterval(timer);
      await draining;
    },
  };
}
