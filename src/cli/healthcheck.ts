import { hostname } from 'node:os';
import { ConfigError, readConfig } from '../config/config.ts';
import { connectRedis } from '../redis/connection.ts';
import { RedisKeys } from '../redis/keys.ts';
import { listWorkers } from '../store/worker-registry.ts';
import { runMain } from './run-main.ts';

/**
 * HEALTHCHECK of the container images: `healthcheck.ts api` or `healthcheck.ts worker`. Exits with
 * 0 if the API or the worker in the same container is healthy. `healthcheck.ts worker alive` also
 * passes while Redis can't be asked: a restart of the worker would not bring Redis back, and the
 * worker would lose its loaded models.
 */
await runMain(async () => {
  const [role, kind] = process.argv.slice(2);
  const config = readConfig(process.env);
  if (role === 'api') {
    const response = await fetch(`http://127.0.0.1:${config.port}/healthz`, {
      signal: AbortSignal.timeout(4000),
    });
    if (!response.ok) throw new Error(`The API answers with ${response.status}.`);
  } else if (role === 'worker') {
    if (config.redisUrl === null) throw new ConfigError('REDIS_URL is not set.');
    const redis = connectRedis(config.redisUrl, { failFast: true, tls: config });
    redis.on('error', () => {}); // the command fails with it
    try {
      const workers = await listWorkers(redis, new RedisKeys(config.redisPrefix)).catch((error: Error) => {
        if (kind !== 'alive') throw error;
        console.log(`Redis can't be asked (${error.message}); a worker waits for it.`);
        return null;
      });
      if (workers && !workers.some(({ host }) => host === hostname()))
        throw new Error(`No worker on ${hostname()} has reported in the last 10 s.`);
    } finally {
      redis.disconnect();
    }
  } else {
    throw new Error('The role is missing: healthcheck.ts api, or healthcheck.ts worker.');
  }
});
