import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { RECORDS } from '../jobs/archive.ts';
import { openResources } from '../jobs/resources.ts';
import { openStore } from '../jobs/store.ts';
import { isRedisEmpty } from '../jobs/sweep/orphans.ts';
import { startSweeping } from '../jobs/sweep/sweeping.ts';
import { startUpkeep } from '../jobs/upkeep.ts';
import { buildApp } from './app.ts';

/** Milliseconds that requests may still take when the server closes; then their connections are cut. */
const PATIENCE = 10_000;

export interface RunningApi {
  readonly url: string;
  /** Ends the event streams, lets requests finish (`PATIENCE` at most), closes. */
  close(): Promise<void>;
}

/**
 * Starts the HTTP interface. Resolves when it listens.
 * @throws Error when the models folder, storage or the port can't be used
 */
export async function startApi({
  config,
  redisUrl,
  logger,
}: {
  readonly config: Config;
  readonly redisUrl: string;
  readonly logger: Logger;
}): Promise<RunningApi> {
  const { catalog, blobs } = await openResources(config, logger);
  const store = await openStore(redisUrl, config.redisPrefix, {
    failFast: true,
    onError: (error) => logger.warn({ err: error }, 'Redis is away'),
  });
  const closing = new AbortController();
  const app = await buildApp({ config, store, blobs, catalog, closing: closing.signal }, logger);
  try {
    if ((await isRedisEmpty(store)) && (await blobs.list(RECORDS)).length > 0)
      logger.warn('Redis is empty, but storage has records of what ended: findery reindex brings it back');
    const url = await app.listen({ host: config.host, port: config.port });
    const endUpkeep = startUpkeep(store, blobs, logger);
    const endSweeping = startSweeping(store, blobs, config, logger);
    if (!['127.0.0.1', '::1', 'localhost'].includes(config.host))
      logger.warn({ host: config.host }, 'the API has no keys yet: whoever reaches this address can use it');
    return {
      url,
      async close() {
        closing.abort();
        endSweeping();
        const impatience = setTimeout(() => app.server.closeAllConnections(), PATIENCE);
        await app.close();
        clearTimeout(impatience);
        endUpkeep();
        await store.close();
      },
    };
  } catch (error) {
    await app.close();
    await store.close();
    throw error;
  }
}
