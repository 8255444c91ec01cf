import { createServer } from 'node:net';
import { Redis } from 'ioredis';

/** Milliseconds between looks at a server that starts or ends. */
export const PAUSE = 25;

/** Whether the server of `folder`, and no other one, answers on `port`. CONFIG is answered while data are loaded; PING is not. */
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

/** Has the server on `port` write its data and end; fine where there is none. */
export async function askToEnd(port: number): Promise<void> {
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
    // On a connection that has ended, disconnect would only leave a timer that keeps the process for two seconds.
    if (client.status !== 'end') client.disconnect();
  }
}

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
