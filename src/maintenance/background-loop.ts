import type { Logger } from 'pino';
import { expireOverdue } from '../jobs/expire.ts';
import { requeueOrphans, requeuePending } from '../jobs/requeue.ts';
import type { BlobStore } from '../storage/blobs.ts';
import type { Store } from '../store/store.ts';

/** Pause between two rounds. */
const INTERVAL_MS = 2000;
/**
 * Age from which work is queued by this loop, because the process that enqueued it has not done so.
 */
const GRACE_SECONDS = 2;

/**
 * Starts the loop that queues work which is in no queue and ends jobs whose deadline has passed.
 * Every API and every worker runs it, so it goes on while one of them lives; its steps are
 * idempotent. A round without anything due takes three commands of Redis. Before the first round,
 * all records are checked for lost work.
 * @returns a function that stops the loop
 */
export function startBackgroundLoop(store: Store, blobs: BlobStore, logger: Logger): () => void {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const attempt = async (task: () => Promise<unknown>) => {
    try {
      await task();
    } catch (error) {
      if (!stopped) logger.warn({ err: error }, 'maintenance failed; it will be retried');
    }
  };
  const runRound = async () => {
    await attempt(() => store.queues.repair());
    await attempt(() => requeuePending(store, GRACE_SECONDS));
    await attempt(() => expireOverdue(store, blobs, Date.now()));
  };
  const scheduleNext = () => {
    if (!stopped) timer = setTimeout(() => void runRound().then(scheduleNext), INTERVAL_MS);
  };
  const first = attempt(async () => {
    const orphans = await requeueOrphans(store);
    if (orphans > 0) logger.info({ orphans }, 'work that was in no queue is queued again');
  });
  void first.then(scheduleNext);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
