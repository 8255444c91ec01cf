import type { Logger } from 'pino';
import type { Config } from '../../config/config.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import type { Store } from '../../store/store.ts';
import { beside } from './pace.ts';
import { sweep } from './sweep.ts';
import { limitsFor } from './tenant-limits.ts';

/** Seconds between two sweeps, whichever process does them. */
const PAUSE = 6 * 3600;
/** Milliseconds between looks whether it is time. */
const LOOK = 600_000;

/** Sweeps now and then, in one of the processes that call this, slowly. Returns what ends it. */
export function startSweeping(store: Store, blobs: BlobStore, config: Config, logger: Logger): () => void {
  const closing = new AbortController();
  const look = async () => {
    if ((await store.redis.set(store.keys.swept(), new Date().toISOString(), 'EX', PAUSE, 'NX')) === null)
      return;
    await sweep(store, blobs, {
      limitsOf: await limitsFor(blobs, config),
      now: Date.now(),
      isDry: false,
      pace: beside(closing.signal),
      logger,
    });
  };
  const timer = setInterval(() => {
    look().catch((error: unknown) => {
      if (!closing.signal.aborted)
        logger.warn({ err: error }, 'the sweep was broken off; the next one goes on');
    });
  }, LOOK);
  timer.unref();
  return () => {
    clearInterval(timer);
    closing.abort();
  };
}
