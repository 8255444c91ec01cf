import { DelayedError, Worker } from 'bullmq';
import type { Logger } from 'pino';
import { AllowedTargets } from '../config/allowed-targets.ts';
import type { Config } from '../config/config.ts';
import { OUTBOX_CHANGED } from '../records/outbox.ts';
import type { ChangeFeed } from '../redis/change-feed.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { ConcurrencyLimiter } from './concurrency-limiter.ts';
import { deliver, HeldBack, TryAgain } from './deliver.ts';
import { type DispatchContext, emptyOutbox } from './dispatch.ts';
import { type Resolve, resolveBySystem } from './resolve-target.ts';
import { trimDeliveries } from './trim.ts';
import { type QueuedDelivery, WEBHOOK_QUEUE } from './webhook-queue.ts';

/** Milliseconds after which the outbox is looked at though nothing was heard of it: a message can be missed. */
const SWEEP = 5_000;
/** Milliseconds between two looks for deliveries that are to be forgotten. */
const TRIM = 60_000;
/** Deliveries under way at a time in one process. */
const CONCURRENCY = 64;
/** Milliseconds for which a slow receiver is spared, and a tenant waits that has enough under way; give or take a half. */
const SPARED = { slow: 20_000, full: 2_000 } as const;
/** Milliseconds that the end waits for Redis. */
const PATIENCE = 2_000;

/** What the service needs of the store. */
export interface WebhookServiceContext extends DispatchContext {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly changes: ChangeFeed;
}

export interface RunningWebhooks {
  /** Gives back what is under way and ends. */
  close(): Promise<void>;
}

/** Makes deliveries of what happens and sends them, in this process as in any other that does. */
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
  const context = {
    webhooks: store.webhooks,
    allowed: new AllowedTargets(config.webhookAllow),
    resolve,
    lanes: new ConcurrencyLimiter(),
    firstPause: config.webhookRetrySeconds,
    logger,
    closing: closing.signal,
  };
  const connection = store.redis.duplicate({ maxRetriesPerRequest: null, commandTimeout: undefined });
  connection.on('error', () => {}); // the connection it was copied from reports the same
  const worker = new Worker<QueuedDelivery>(
    WEBHOOK_QUEUE,
    async (job, token) => {
      try {
        const attempt = job.attemptsMade + 1;
        await deliver(context, job.data.id, attempt, attempt >= (job.opts.attempts ?? 1));
      } catch (error) {
        const isHeldBack = error instanceof HeldBack;
        if (!isHeldBack && (!closing.signal.aborted || error instanceof TryAgain)) throw error;
        // Given back as it was: for another process at once, or for later.
        await job.moveToDelayed(
          Date.now() + (isHeldBack ? SPARED[error.reason] * (0.5 + Math.random()) : 0),
          token,
        );
        throw new DelayedError();
      }
    },
    {
      connection,
      prefix: store.keys.queues(),
      concurrency: CONCURRENCY,
      lockDuration: config.lockSeconds * 1000,
      stalledInterval: (config.lockSeconds * 1000) / 2,
      // A delivery does not kill its process; that processes die is no reason to give it up.
      maxStalledCount: 1e9,
      settings: {
        // What is no answer of a receiver (Redis away) is tried again soon.
        backoffStrategy: (_attempts, _type, error) => (error instanceof TryAgain ? error.pause : 2000),
      },
    },
  );
  worker.on('error', (error) => {
    if (!closing.signal.aborted) logger.warn({ err: error }, 'queue of webhooks');
  });

  let sweeping: Promise<void> = Promise.resolve();
  let isAsked = false;
  /** One sweep at a time; asked during one, there is another one after it. */
  const sweep = () => {
    if (isAsked || closing.signal.aborted) return;
    isAsked = true;
    sweeping = sweeping
      .then(() => {
        isAsked = false;
        return closing.signal.aborted ? 0 : emptyOutbox(store, config.lockSeconds);
      })
      .then(
        () => {},
        (error: unknown) => {
          if (!closing.signal.aborted)
            logger.warn({ err: error }, 'the outbox could not be emptied; trying again');
        },
      );
  };
  const off = store.changes.on(OUTBOX_CHANGED, sweep);
  sweep();
  const sweeper = setInterval(sweep, SWEEP);
  const trimmer = setInterval(() => {
    trimDeliveries(store.webhooks, Date.now()).catch((error: unknown) =>
      logger.warn({ err: error }, 'old webhook deliveries could not be removed'),
    );
  }, TRIM);

  return {
    async close() {
      closing.abort(new Error('the process ends'));
      off();
      clearInterval(sweeper);
      clearInterval(trimmer);
      await sweeping;
      const patience = new Promise((over) => setTimeout(over, PATIENCE).unref());
      await Promise.race([worker.close().catch(() => {}), patience]);
      connection.disconnect();
    },
  };
}
