import { startApi } from '../api/server.ts';
import { ConfigError, readConfig } from '../config/config.ts';
import { limitHeapGrowth } from './heap.ts';
import { createLogger } from './logger.ts';
import { ensureRedis } from './redis/ensure-redis.ts';
import { aborted, runMain } from './run-main.ts';

/**
 * `npm run api`: the HTTP API without a worker. Any number of these may share a Redis and a
 * storage.
 */
await runMain(async (stop) => {
  limitHeapGrowth();
  const config = readConfig(process.env);
  if (config.redisUrl === null)
    throw new ConfigError(
      'REDIS_URL is not set; `npm run api` needs the Redis that its workers use. ' +
        '(`npm start` starts a private Redis.)',
    );
  // Fails now if Redis can't be used. Once it runs, the API waits for a Redis that goes away.
  await ensureRedis({ url: config.redisUrl, dataDir: config.dataFolder, log: () => {} });
  const api = await startApi({ config, redisUrl: config.redisUrl, logger: createLogger(config, 'api') });
  await aborted(stop);
  await api.close();
});
