import { hostname } from 'node:os';
import { ConfigError, readConfig } from '../config/config.ts';
import { openStore } from '../store/store.ts';
import { listWorkers } from '../store/worker-registry.ts';
import { runMain } from './run-main.ts';

/**
 * HEALTHCHECK of the container images: `healthcheck.ts api` or `healthcheck.ts worker`. Exits with
 * 0 if the API or the worker in the same container is healthy.
 */
await runMain(async () => {
  const role = process.argv[2];
  const config = readConfig(process.env);
  if (role === 'api') {
    const response = await fetch(`http://127.0.0.1:${config.port}/healthz`, {
      signal: AbortSignal.timeout(4000),
    });
    if (!response.ok) throw new Error(`The API answers with ${response.status}.`);
  } else if (role === 'worker') {
    if (config.redisUrl === null) throw new ConfigError('REDIS_URL is not set.');
    const store = await openStore(config.redisUrl, config.redisPrefix, { failFast: true, tls: config });
    try {
      const workers = await listWorkers(store.redis, store.keys);
      if (!workers.some(({ host }) => host === hostname()))
        throw new Error(`No worker on ${hostname()} has reported in the last 10 s.`);
    } finally {
      await store.close();
    }
  } else {
    throw new Error('The role is missing: healthcheck.ts api, or healthcheck.ts worker.');
  }
});
