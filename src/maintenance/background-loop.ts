import type { Logger } from 'pino';
import { expireOverdue } from '../jobs/expire.ts';
import { requeueOrphans, requeuePending } from '../jobs/requeue.ts';
import type { BlobStore } from '../storage/blobs.ts';
import type { Store } from '../store/store.ts';

/** Milliseconds between two rounds. */
const INTERVAL = 2000;
/** Seconds after which accepted work should be in its queue. */
const GRACE = 2;

/**
 * What has to happen although nobody asks for it: accepted work gets into its queue, deadlines pass. Every API and every worker
 * does it, so that it happens while one of them lives; twice is as good as once. A round in which nothing is due takes two
 * commands, whatever waits. At the start all records are looked through once.
 * @returns what ends it
 */
export function startBackgroundLoop(store: Store, blobs: BlobStore, logger: Logger): () => void {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const attempt = async (what: () => Promise<unknown>) => {
    try {
      await what();
    } catch (error) {
      if (!stopped) logger.warn({ err: error }, 'upkeep will be tried again');
    }
  };
  const round = async () => {
    await attempt(() => requeuePending(store, GRACE));
    await attempt(() => expireOverdue(store, blobs, Date.now()));
  };
  const next = () => {
    if (!stopped) timer = setTimeout(() => void round().then(next), INTERVAL);
  };
  const first = attempt(async () => {
    const orphans = await requeueOrphans(store);
    if (orphans > 0) logger.info({ orphans }, 'queued again what was in no queue');
  });
  void first.then(next);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
