import { startApi } from '../api/server.ts';
import { ConfigError, readConfig } from '../config/config.ts';
import { limitHeapGrowth } from './heap.ts';
import { createLogger } from './logger.ts';
import { ensureRedis, START_WAIT_MS } from './redis/ensure-redis.ts';
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
  const logger = createLogger(config, 'api');
  await ensureRedis({
    url: config.redisUrl,
    tls: config,
    dataDir: config.dataFolder,
    log: (line) => logger.warn(line),
    waitMs: START_WAIT_MS,
    stop,
  });
  const api = await startApi({ config, redisUrl: config.redisUrl, logger });
  await aborted(stop);
  await api.close();
});
