import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ConfigError } from '../../src/config/config.ts';
import { METRICS_TYPE } from '../../src/metrics/registry.ts';

/** A server of metrics that listens. */
export interface MetricsServer {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Serves `GET /metrics` of a worker, without keys. It does not keep the process alive.
 * @param render makes the text
 * @throws ConfigError if the address can't be used
 */
export async function startMetricsServer(
  { host, port }: { readonly host: string; readonly port: number },
  render: () => Promise<string>,
): Promise<MetricsServer> {
  const server = createServer(async ({ method, url }, response) => {
    if (url?.split('?')[0] !== '/metrics' || (method !== 'GET' && method !== 'HEAD')) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('This port has GET /metrics.\n');
      return;
    }
    try {
      const text = await render();
      response.writeHead(200, { 'content-type': METRICS_TYPE }).end(method === 'HEAD' ? undefined : text);
    } catch (error) {
      response.writeHead(500, { 'content-type': 'text/plain' }).end(`${error}\n`);
    }
  });
  server.unref();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new ConfigError(
          `FINDERY_METRICS_PORT is ${port}, which can't be used on ${host} (${error.code}). ` +
            'Each worker of a machine needs a port of its own.',
        ),
      ),
    );
    server.listen(port, host, resolve);
  });
  const { address, port: bound, family } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}/metrics`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
