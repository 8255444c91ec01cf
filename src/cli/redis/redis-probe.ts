import type { Redis } from 'ioredis';
import { openConnection } from '../../redis/address.ts';

/** Pause between two probes of a server that starts or ends. */
export const POLL_INTERVAL_MS = 25;

/**
 * The state of the server of `folder` at `url`. Any other server at that address counts as `none`.
 *
 * Redis answers CONFIG while it loads its data, and refuses PING until it has loaded them.
 */
export async function probe(url: string | null, folder: string): Promise<'ready' | 'loading' | 'none'> {
  if (url === null) return 'none';
  return withClient(url, async (client) => {
    const [, directory] = (await client.config('GET', 'dir')) as string[];
    if (directory !== folder) return 'none';
    return client.ping().then(
      () => 'ready' as const,
      () => 'loading' as const,
    );
  }).catch(() => 'none');
}

/** Makes the server at `url` write its data and exit. Does nothing when no server answers. */
export async function shutDown(url: string): Promise<void> {
  await withClient(url, (client) => client.shutdown()).catch(() => {});
}

async function withClient<T>(url: string, action: (client: Redis) => Promise<T>): Promise<T> {
  const client = openConnection(url, {
    lazyConnect: true,
    enableReadyCheck: false,
    connectTimeout: 1000,
    commandTimeout: 1000,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  client.on('error', () => {});
  try {
    await client.connect();
    return await action(client);
  } finally {
    // After the connection has ended, `disconnect` would only start a timer that keeps this process
    // alive for two seconds.
    if (client.status !== 'end') client.disconnect();
  }
}
