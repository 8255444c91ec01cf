import type { Logger } from 'pino';
import type { Config } from '../../config.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import type { Store } from '../store.ts';
import type { LimitsOf } from './retention.ts';
import { sweep } from './sweep.ts';

/** Seconds between two sweeps, whichever process does them. */
const PAUSE = 6 * 3600;
/** Milliseconds between looks whether it is time. */
const LOOK = 600_000;

/** The limits of the configuration, the same for everybody. */
export function limitsOfConfig({ keepDays, keepJobs, keepSamples }: Config): LimitsOf {
  return () => ({ days: keepDays, jobs: keepJobs, samples: keepSamples });
}

/** Sweeps now and then, in one of the processes that call this. Returns what ends it. */
export function startSweeping(store: Store, blobs: BlobStore, config: Config, logger: Logger): () => void {
  const look = async () => {
    if ((await store.redis.set(store.keys.swept(), new Date().toISOString(), 'EX', PAUSE, 'NX')) === null) return;
    await sweep(store, blobs, { limitsOf: limitsOfConfig(config), now: Date.now(), isDry: false, logger });
  };
  const timer = setInterval(() => {
    look().catch((error: unknown) => logger.warn({ err: error }, 'the sweep was broken off; the next one goes on'));
  }, LOOK);
  timer.unref();
  return () => clearInterval(timer);
}
