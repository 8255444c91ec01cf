import { type Config, storagePlace } from '../../config/config.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import { openBlobs } from '../../storage/open-blobs.ts';
import { openStore, type Store } from '../../store/store.ts';
import { ensureRedis } from '../redis/ensure-redis.ts';

/**
 * Gives a command the Redis and the storage of the service, and closes them behind it. Without REDIS_URL it is the private Redis
 * of the data folder.
 * @throws RedisUnavailableError, BlobStoreError
 */
export async function withStorage<T>(
  config: Config,
  work: (opened: { readonly store: Store; readonly blobs: BlobStore }) => Promise<T>,
): Promise<T> {
  const redis = await ensureRedis({ url: config.redisUrl, dataDir: config.dataFolder, log: () => {} });
  try {
    const blobs = await openBlobs(storagePlace(config));
    await blobs.check();
    const store = await openStore(redis.url, config.redisPrefix, { failFast: true });
    try {
      return await work({ store, blobs });
    } finally {
      await store.close();
    }
  } finally {
    await redis.stop();
  }
}
