import { Worker } from 'bullmq';
import { afterAll, describe, expect, it } from 'vitest';
import { ensureRedis } from '../../src/cli/redis/ensure-redis.ts';
import { connectRedis } from '../../src/redis/connection.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { MovingAddress, type RedisServer, RedisServers, until } from '../support/redis-servers.ts';
import { PROMPT, queueJob, startTestApi, type TestApi } from '../support/test-api.ts';

const servers = new RedisServers();
afterAll(() => servers.close());

const follow = (primary: RedisServer) =>
  [['replicaof', `127.0.0.1 ${primary.port}`]] as const satisfies [string, string][];

/** Takes the entries of a queue as a worker process does; `taken` has their ids. */
function takeEntries(url: string, { config }: TestApi) {
  const taken: string[] = [];
  const connection = connectRedis(url, { failFast: false });
  connection.on('error', () => {});
  const copy = connection.duplicate({ maxRetriesPerRequest: null });
  const worker = new Worker('optimize', async ({ data }) => void taken.push(data.id), {
    connection: copy,
    prefix: `${config.redisPrefix}:queue`,
    lockDuration: 2000,
    stalledInterval: 1000,
  });
  worker.on('error', () => {});
  return {
    taken,
    worker,
    async close() {
      await worker.close(true);
      copy.disconnect();
      connection.disconnect();
    },
  };
}

/** Posts jobs until one is accepted. */
async function postUntilAccepted(api: TestApi): Promise<string> {
  let id = '';
  await until(async () => {
    const response = await api.post('/v1/jobs', { prompt: PROMPT });
    if (response.status !== 202) {
      expect(response.status, await response.text()).toBe(503);
      return false;
    }
    ({ id } = (await response.json()) as { id: string });
    return true;
  });
  return id;
}

/** Whether every replica of the primary has its data. */
const isSynced = (replica: RedisServer) =>
  replica
    .query((client) => client.info('replication'))
    .then((info) => info.includes('master_link_status:up'));

describe('a Redis that fails over', () => {
  it('is followed by API, store and workers when its address leads to the new primary', async () => {
    const first = await servers.start();
    const second = await servers.start(follow(first));
    await until(() => isSynced(second));
    const address = await MovingAddress.listen(first.port);
    const api = await startTestApi({ redisUrl: address.url });
    const worker = takeEntries(address.url, api);
    let waiting: Store | undefined;
    try {
      const { id } = await queueJob(api);
      await until(() => worker.taken.includes(id));
      waiting = await openStore(address.url, api.config.redisPrefix, { failFast: false });

      await second.query((client) => client.replicaof('NO', 'ONE'));
      await first.query((client) => client.replicaof('127.0.0.1', second.port));
      // The address still leads to the old primary, which is a replica now.
      const readiness = await (await api.get('/readyz')).text();
      expect(readiness).toContain('is a replica, which refuses writes');
      expect(readiness).not.toContain('does not answer');
      expect((await api.post('/v1/jobs', { prompt: PROMPT })).status).toBe(503);
      const patient = waiting.jobs.change(id, { set: { cancelRequested: false } });

      address.target = second.port;
      const accepted = await postUntilAccepted(api);
      await until(() => worker.taken.includes(accepted));
      expect(await patient).toBe('done');
      expect(await (await api.get('/readyz')).text()).not.toContain('replica');
      // A command that is no script fails once, and its connection then follows too.
      const key = `${api.config.redisPrefix}:written`;
      await until(() => api.store.redis.set(key, '').then(Boolean, () => false));
    } finally {
      await worker.close();
      await waiting?.close();
      await api.close();
      address.close();
    }
  }, 120_000);

  it('is followed through Sentinels, also when the machine of the primary is silent', async () => {
    const first = await servers.start();
    const replicas = [await servers.start(follow(first)), await servers.start(follow(first))];
    for (const replica of replicas) await until(() => isSynced(replica));
    const sentinels: RedisServer[] = [];
    for (let i = 0; i < 3; i++)
      sentinels.push(
        await servers.start(
          [
            ['sentinel monitor', `main 127.0.0.1 ${first.port} 2`],
            ['sentinel down-after-milliseconds', 'main 1000'],
            ['sentinel failover-timeout', 'main 5000'],
          ],
          'sentinel',
        ),
      );
    const primaryPort = async () =>
      Number(
        (
          await sentinels[0].query(
            (client) => client.call('SENTINEL', 'get-master-addr-by-name', 'main') as Promise<string[]>,
          )
        )[1],
      );
    // Each Sentinel has to know the others and the replicas.
    for (const sentinel of sentinels)
      await until(async () => {
        const info = await sentinel.query((client) => client.info());
        return info.includes('slaves=2,sentinels=3');
      });
    const url = `redis-sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/main`;
    const api = await startTestApi({ redisUrl: url });
    const worker = takeEntries(url, api);
    try {
      const { id } = await queueJob(api);
      await until(() => worker.taken.includes(id));
      let primary = first;
      for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
        primary.process.kill(signal);
        await until(async () => (await primaryPort()) !== primary.port);
        const accepted = await postUntilAccepted(api);
        await until(() => worker.taken.includes(accepted));
        const port = await primaryPort();
        primary = replicas.find((replica) => replica.port === port) ?? first;
        if (signal === 'SIGKILL')
          for (const other of replicas) if (other !== primary) await until(() => isSynced(other));
      }
    } finally {
      await worker.close();
      await api.close();
    }
  }, 180_000);
});

it('a primary that lacks replicas (min-replicas-to-write) is answered 503 until it has one', async () => {
  const primary = await servers.start();
  const api = await startTestApi({ redisUrl: primary.url });
  try {
    await primary.query((client) => client.config('SET', 'min-replicas-to-write', '1'));
    const refused = await api.post('/v1/jobs', { prompt: PROMPT });
    expect(refused.status, await refused.text()).toBe(503);
    await servers.start(follow(primary));
    await postUntilAccepted(api);
  } finally {
    await api.close();
  }
});

describe('a Redis at the start', () => {
  it('is waited for, and the log says so', async () => {
    const redis = await servers.start();
    const address = await MovingAddress.listen(1);
    const lines: string[] = [];
    setTimeout(() => {
      address.target = redis.port;
    }, 1000);
    const options = {
      url: address.url,
      dataDir: '.',
      log: (line: string) => lines.push(line),
      waitMs: 30_000,
    };
    expect((await ensureRedis(options)).origin).toBe('given');
    expect(lines).toEqual([expect.stringMatching(/can't be used yet: .*Waiting for it, 30 seconds at most/)]);
    address.close();
  });

  it('is refused when it is a replica for good', async () => {
    const primary = await servers.start();
    const replica = await servers.start(follow(primary));
    await expect(ensureRedis({ url: replica.url, dataDir: '.', log: () => {} })).rejects.toThrow(
      /is a replica, which refuses writes/,
    );
  });

  it('is refused at once when it is a cluster', async () => {
    const cluster = await servers.start([['cluster-enabled', 'yes']]);
    await expect(
      ensureRedis({ url: cluster.url, dataDir: '.', log: () => {}, waitMs: 60_000 }),
    ).rejects.toThrow(/it is a Redis Cluster.*redis-sentinel:/);
  });
});
