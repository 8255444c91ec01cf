import type { Logger } from 'pino';
import { type Config, ConfigError } from '../config/config.ts';
import { RECORDS } from '../jobs/archive.ts';
import { startBackgroundLoop } from '../maintenance/background-loop.ts';
import { indexTenants } from '../maintenance/index-tenants.ts';
import { isRedisEmpty } from '../maintenance/sweep/orphans.ts';
import { startSweeping } from '../maintenance/sweep/schedule.ts';
import { hasAny } from '../storage/blobs.ts';
import { openResources } from '../store/resources.ts';
import { openStore, type Store } from '../store/store.ts';
import { ApiKeys } from '../tenancy/api-keys.ts';
import { type Resolve, resolveBySystem } from '../webhooks/resolve-target.ts';
import { startWebhooks } from '../webhooks/service.ts';
import { buildApp } from './app.ts';
import { Authenticator, isLoopback } from './authenticator.ts';

/** Milliseconds that requests may still take when the server closes; then their connections are cut. */
const PATIENCE = 10_000;

export interface RunningApi {
  readonly url: string;
  /** Ends the event streams, lets requests finish (`PATIENCE` at most), closes. */
  close(): Promise<void>;
}

/**
 * Starts the HTTP interface. Resolves when it listens.
 * @throws ConfigError when others than this machine would reach it, and there is no key that it could ask for
 * @throws Error when the models folder, storage or the port can't be used
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
  /** How hosts of webhooks' targets are found. */
  readonly resolveHost?: Resolve;
  /** Between two heartbeats of an event stream; 15 seconds when left out. */
  readonly heartbeatMilliseconds?: number;
}): Promise<RunningApi> {
  const { catalog, blobs } = await openResources(config, logger);
  const store = await openStore(redisUrl, config.redisPrefix, {
    failFast: true,
    onError: (error) => logger.warn({ err: error }, 'Redis is away'),
  });
  const closing = new AbortController();
  const app = await buildApp(
    { config, store, blobs, resolveHost, catalog, closing: closing.signal, heartbeatMilliseconds },
    logger,
  );
  try {
    if (await new Authenticator(store, config).lacksKeys()) throw new ConfigError(lackOfKeys(config));
    if ((await isRedisEmpty(store)) && (await hasAny(blobs, RECORDS)))
      logger.warn('Redis is empty, but storage has records of what ended: findery reindex brings it back');
    await indexTenants(store);
    await store.queues.settle();
    const url = await app.listen({ host: config.host, port: config.port });
    await tellWhoMayUseIt(store, config, logger);
    const endUpkeep = startBackgroundLoop(store, blobs, logger);
    const endSweeping = startSweeping(store, blobs, config, logger);
    const webhooks = startWebhooks({ config, store, logger, resolve: resolveHost });
    return {
      url,
      async close() {
        closing.abort();
        endSweeping();
        const impatience = setTimeout(() => app.server.closeAllConnections(), PATIENCE);
        await app.close();
        clearTimeout(impatience);
        endUpkeep();
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

/** What to do about a server that nobody could use, or anybody. */
function lackOfKeys({ host, keys, trustProxy }: Config): string {
  return [
    keys === 'required'
      ? 'FINDERY_KEYS is "required", and there is no key yet.'
      : isLoopback(host)
        ? `FINDERY_TRUST_PROXY is "${trustProxy.join(',')}": others come through that proxy, and there is no key that could be asked of them.`
        : `HOST is "${host}", which other machines may reach, and there is no key that could be asked of them.`,
    'Make one: findery keys create --name admin --scopes admin (with the same REDIS_URL, FINDERY_REDIS_PREFIX and FINDERY_DATA).',
    'Or leave HOST and FINDERY_TRUST_PROXY out, to serve this machine alone; or set FINDERY_KEYS=off where a proxy or a network of your own keeps strangers out.',
  ].join('\n');
}

async function tellWhoMayUseIt(store: Store, { host, keys }: Config, logger: Logger): Promise<void> {
  if (keys === 'off') {
    const line = 'FINDERY_KEYS=off: whoever reaches this address may do everything';
    if (isLoopback(host)) logger.info({ host }, line);
    else logger.warn({ host }, line);
  } else if (await new ApiKeys(store.redis, store.keys).any()) {
    logger.info({ host }, 'a key is asked for (findery keys list)');
  } else {
    logger.info(
      { host },
      'there are no keys: only this machine can use the API (findery keys create makes the first one)',
    );
  }
}
