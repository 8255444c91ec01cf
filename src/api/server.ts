import type { Logger } from 'pino';
import { type Config, ConfigError } from '../config/config.ts';
import { RECORD_PREFIX } from '../jobs/archive.ts';
import { startBackgroundLoop } from '../maintenance/background-loop.ts';
import { indexTenants } from '../maintenance/index-tenants.ts';
import { isRedisEmpty } from '../maintenance/sweep/orphans.ts';
import { startPeriodicSweep } from '../maintenance/sweep/schedule.ts';
import { hasAny } from '../storage/blobs.ts';
import { openResources } from '../store/resources.ts';
import { openStore, type Store } from '../store/store.ts';
import { ApiKeys } from '../tenancy/api-keys.ts';
import { openTracer } from '../tracing/tracer.ts';
import { type Resolve, resolveBySystem } from '../webhooks/resolve-target.ts';
import { startWebhooks } from '../webhooks/service.ts';
import { buildApp } from './app.ts';
import { Authenticator, isLoopback } from './auth/authenticator.ts';
import { checkRedisAtStart } from './redis-checks.ts';

/**
 * How long open requests may take after the server began to close; then their connections are cut.
 */
const CLOSE_TIMEOUT_MS = 10_000;

/** A server that listens. */
export interface RunningApi {
  readonly url: string;
  /** Ends event streams and held requests, lets other requests finish for up to 10 s, closes. */
  close(): Promise<void>;
}

/**
 * Starts the HTTP interface, with webhooks and maintenance. Resolves when it listens.
 * @throws ConfigError when other machines could reach the server and there is no key to ask them
 *   for, or Redis is not as FINDERY_REQUIRE_DURABLE wants it
 * @throws Error when the models folder, storage, Redis or the port can't be used
 */
export async function startApi({
  config,
  redisUrl,
  logger,
  resolveHost = resolveBySystem,
  heartbeatMilliseconds,
}: {
  readonly config: Config;
  readonly redisUrl: string;
  readonly logger: Logger;
  /** Resolves the hosts of webhook targets. */
  readonly resolveHost?: Resolve;
  /** Interval between two heartbeats of an event stream; default 15 seconds. */
  readonly heartbeatMilliseconds?: number;
}): Promise<RunningApi> {
  const { catalog, blobs } = await openResources(config, logger);
  const store = await openStore(redisUrl, config.redisPrefix, {
    failFast: true,
    tls: config,
    onError: (error) => logger.warn({ err: error }, 'Redis is away'),
  });
  const closing = new AbortController();
  const tracer = await openTracer(config, 'findery-api');
  const app = await buildApp(
    { config, store, blobs, resolveHost, catalog, tracer, closing: closing.signal, heartbeatMilliseconds },
    logger,
  );
  try {
    await checkRedisAtStart(store, config, logger);
    const lack = await new Authenticator(store, config, blobs).lacksKeys();
    if (lack) throw new ConfigError(explainMissingKeys(config, lack));
    if ((await isRedisEmpty(store)) && (await hasAny(blobs, RECORD_PREFIX)))
      logger.warn('Redis is empty, but storage has records: findery reindex restores them');
    await indexTenants(store);
    await store.queues.registerAll();
    const url = await app.listen({ host: config.host, port: config.port });
    await logAccess(store, config, logger);
    const stopBackgroundLoop = startBackgroundLoop(store, blobs, logger);
    const stopSweeping = startPeriodicSweep(store, blobs, config, logger);
    const webhooks = startWebhooks({ config, store, logger, resolve: resolveHost });
    return {
      url,
      async close() {
        closing.abort();
        stopSweeping();
        const timeout = setTimeout(() => app.server.closeAllConnections(), CLOSE_TIMEOUT_MS);
        await app.close();
        clearTimeout(timeout);
        stopBackgroundLoop();
        await webhooks.close();
        await store.close();
      },
    };
  } catch (error) {
    await app.close();
    await store.close();
    throw error;
  }
}

/** Says why the server does not start without a key, and what to do. */
function explainMissingKeys({ host, keys, trustProxy }: Config, lack: 'none' | 'lost'): string {
  if (lack === 'lost')
    return [
      'This service had keys, and its Redis has none: it was emptied, or it is another Redis.',
      'Restore a backup (findery restore), or create a key: findery keys create --scopes admin ' +
        '(with the same REDIS_URL, FINDERY_REDIS_PREFIX and FINDERY_DATA).',
      'Or set FINDERY_KEYS=off, which allows everything to everybody.',
    ].join('\n');
  const reason =
    keys === 'required'
      ? 'FINDERY_KEYS is "required", and there is no key yet.'
      : isLoopback(host)
        ? `FINDERY_TRUST_PROXY is "${trustProxy.join(',')}": other machines come in through that proxy, ` +
          'and there is no key to ask them for.'
        : `HOST is "${host}", which other machines can reach, and there is no key to ask them for.`;
  return [
    reason,
    'Create a key: findery keys create --name admin --scopes admin ' +
      '(with the same REDIS_URL, FINDERY_REDIS_PREFIX and FINDERY_DATA).',
    'Or unset HOST and FINDERY_TRUST_PROXY, to serve only this machine; ' +
      'or set FINDERY_KEYS=off if your own proxy or network keeps strangers out.',
  ].join('\n');
}

/** Logs who may use the API. */
async function logAccess(store: Store, { host, keys }: Config, logger: Logger): Promise<void> {
  if (keys === 'off') {
    const line = 'FINDERY_KEYS=off: everybody who reaches this address may do everything';
    if (isLoopback(host)) logger.info({ host }, line);
    else logger.warn({ host }, line);
  } else if (await new ApiKeys(store.redis, store.keys).hasAny()) {
    logger.info({ host }, 'a key is required (findery keys list)');
  } else {
    logger.info(
      { host },
      'there are no keys: only this machine can use the API (findery keys create makes the first one)',
    );
  }
}
