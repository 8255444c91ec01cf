import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { openResources } from '../jobs/resources.ts';
import { openStore } from '../jobs/store.ts';
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
    const url = await app.listen({ host: config.host, port: config.port });
    const endUpkeep = startUpkeep(store, logger);
    if (!['127.0.0.1', '::1', 'localhost'].includes(config.host))
      logger.warn({ host: config.host }, 'the API has no keys yet: whoever reaches this address can use it');
    return {
      url,
      async close() {
        closing.abort();
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
