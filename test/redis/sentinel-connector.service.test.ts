import { once } from 'node:events';
import { SentinelConnector } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseSentinelUrl } from '../../src/redis/address.ts';
import { FollowingSentinelConnector } from '../../src/redis/sentinel-connector.ts';
import { RedisServers, until } from '../support/redis-servers.ts';

const servers = new RedisServers();
let url = '';
beforeAll(async () => {
  const primary = await servers.start();
  const sentinel = await servers.start(
    [
      ['sentinel monitor', `main 127.0.0.1 ${primary.port} 1`],
      ['sentinel down-after-milliseconds', 'main 60000'],
    ],
    'sentinel',
  );
  url = `redis-sentinel://127.0.0.1:${sentinel.port}/main`;
});
afterAll(() => servers.close());

/** Parts of ioredis' classes that are private. */
interface Internals {
  readonly failoverDetector: { readonly isDisconnected: boolean; disconnect(): void } | null;
}

/** Hears of a failover, as from a Sentinel, unless the detector has ended. */
function announce(detector: Internals['failoverDetector']): void {
  if (!detector?.isDisconnected) detector?.disconnect();
}

describe('a failover that is announced while the next connection is being made', () => {
  const reconnect = async (Connector: typeof SentinelConnector | typeof FollowingSentinelConnector) => {
    const options = parseSentinelUrl(url);
    if (!options) throw new Error('The URL is not of a Sentinel.');
    const connector = new Connector({ sentinelRetryStrategy: () => 10, ...options } as never);
    const internals = connector as unknown as Internals; // The fields are private.
    const stream = await connector.connect(() => {});
    await once(stream, 'connect');
    await until(async () => internals.failoverDetector !== null);
    stream.destroy(); // The primary is gone.
    const former = internals.failoverDetector;
    const next = connector.connect(() => {});
    announce(former);
    return next.finally(() => connector.disconnect());
  };

  it('does not end the client', async () => {
    expect((await reconnect(FollowingSentinelConnector)).destroyed).toBe(false);
    expect(parseSentinelUrl(url)?.Connector).toBe(FollowingSentinelConnector);
  });

  it('ends one with the connector of ioredis, which is why there is another', async () => {
    await expect(reconnect(SentinelConnector)).rejects.toThrow('Connection is closed');
  });
});
