import { createServer } from 'node:net';
import { Redis } from 'ioredis';

/** Pause between two probes of a server that starts or ends. */
export const POLL_INTERVAL_MS = 25;

/**
 * The state of the server of `folder` on `port`. Any other server on that port counts as `none`.
 *
 * Redis answers CONFIG while it loads its data, and refuses PING until it has loaded them.
 */
export async function probe(port: number, folder: string): Promise<'ready' | 'loading' | 'none'> {
  if (port === 0) return 'none';
  return withClient(port, async (client) => {
    const [, directory] = (await client.config('GET', 'dir')) as string[];
    if (directory !== folder) return 'none';
    return client.ping().then(
      () => 'ready' as const,
      () => 'loading' as const,
    );
  }).catch(() => 'none');
}

/** Makes the server on `port` write its data and exit. Does nothing when no server answers. */
export async function shutDown(port: number): Promise<void> {
  await withClient(port, (client) => client.shutdown()).catch(() => {});
}

async function withClient<T>(port: number, action: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis({
    host: '127.0.0.1',
    port,
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

/**
 * A port of 127.0.0.1 that was free a moment ago. Another process may take it before its user does.
 */
export async function findFreePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        typeof address === 'object' && address
          ? resolve(address.port)
          : reject(new Error('No free port was found.')),
      );
    });
  });
}
