import type { Logger } from 'pino';
import type { Config } from '../../config/config.ts';
import { setIfMissing } from '../../redis/lock.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import type { Store } from '../../store/store.ts';
import { inBackground } from './pace.ts';
import { readLimits } from './retention-limits.ts';
import { sweep } from './sweep.ts';

/** Seconds between two sweeps of all processes together: six hours. */
const SWEEP_INTERVAL_SECONDS = 6 * 3600;
/** How often each process checks whether a sweep is due: ten minutes. */
const CHECK_INTERVAL_MS = 600_000;

/**
 * Starts periodic sweeps in the background. Any number of processes may do so; one of them sweeps.
 * @returns a function that stops the sweeps
 */
export function startPeriodicSweep(
  store: Store,
  blobs: BlobStore,
  config: Config,
  logger: Logger,
): () => void {
  const closing = new AbortController();
  const sweepIfDue = async () => {
    const now = new Date().toISOString();
    const pause = store.keys.sweepPause();
    if (!(await setIfMissing(store.redis, pause, now, SWEEP_INTERVAL_SECONDS * 1000))) return;
    await sweep(store, blobs, {
      limitsOf: await readLimits(blobs, config),
      now: Date.now(),
      isDry: false,
      pace: inBackground(closing.signal),
      logger,
    });
  };
  const timer = setInterval(() => {
    sweepIfDue().catch((error: unknown) => {
      if (!closing.signal.aborted) logger.warn({ err: error }, 'the sweep failed; the next one continues');
    });
  }, CHECK_INTERVAL_MS);
  timer.unref();
  return () => {
    clearInterval(timer);
    closing.abort();
  };
}
