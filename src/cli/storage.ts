import { resolve } from 'node:path';
import { type Config, storagePlace } from '../config/config.ts';
import { parseS3 } from '../config/storage-place.ts';
import type { BlobStore } from '../storage/blobs.ts';
import { openBlobs } from '../storage/open-blobs.ts';
import { openStore, type Store } from '../store/store.ts';
import { UsageError } from './arguments.ts';
import { ensureRedis } from './redis/ensure-redis.ts';

/**
 * Opens the Redis and the storage of the configured service, runs `work` with them, and closes
 * them. Without REDIS_URL this starts the private Redis of the data folder.
 * @throws RedisUnavailableError, BlobStoreError when one of them can't be used
 */
export async function withStorage<T>(
  config: Config,
  work: (opened: { readonly store: Store; readonly blobs: BlobStore }) => Promise<T>,
): Promise<T> {
  const redis = await ensureRedis({
    url: config.redisUrl,
    tls: config,
    dataDir: config.dataFolder,
    log: () => {},
  });
  try {
    const blobs = await openBlobs(storagePlace(config));
    await blobs.check();
    const store = await openStore(redis.url, config.redisPrefix, { failFast: true, tls: config });
    try {
      return await work({ store, blobs });
    } finally {
      await store.close();
    }
  } finally {
    await redis.stop();
  }
}

/**
 * Opens the blob store that an argument names: a folder, or s3://bucket/prefix.
 * @throws UsageError for any other URL
 */
export async function openPlace(place: string): Promise<BlobStore> {
  const s3 = parseS3(place);
  if (s3) return openBlobs(s3);
  if (/^[a-z0-9]+:\/\//i.test(place))
    throw new UsageError(`"${place}" is neither a folder nor s3://bucket/prefix.`);
  return openBlobs({ type: 'file', folder: resolve(place) });
}
