import { startApi } from '../api/server.ts';
import { ConfigError, readConfig } from '../config/config.ts';
import { boundHeap } from './heap.ts';
import { createLogger } from './logger.ts';
import { ensureRedis } from './redis/ensure-redis.ts';
import { aborted, runMain } from './run-main.ts';

/** `npm run api`: the HTTP interface alone. Any number of these share a Redis and a data folder. */
await runMain(async (stop) => {
  boundHeap();
  const config = readConfig(process.env);
  if (config.redisUrl === null)
    throw new ConfigError(
      'REDIS_URL is not set; `npm run api` needs the Redis that its workers use. (`npm start` brings its own.)',
    );
  // Says at once what is wrong with it; later the service waits while Redis is away.
  await ensureRedis({ url: config.redisUrl, dataDir: config.dataFolder, log: () => {} });
  const api = await startApi({ config, redisUrl: config.redisUrl, logger: createLogger(config, 'api') });
  await aborted(stop);
  await api.close();
});
