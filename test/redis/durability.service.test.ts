import { Writable } from 'node:stream';
import { pino } from 'pino';
import { afterAll, describe, expect, it } from 'vitest';
import { type RedisServer, RedisServers } from '../support/redis-servers.ts';
import { startTestApi } from '../support/test-api.ts';

const servers = new RedisServers();
afterAll(() => servers.close());

/** Starts an API and stops it again; what it logged, and what /readyz answers. */
async function start({ url }: RedisServer, requireDurable: boolean, user = '') {
  const lines: string[] = [];
  const log = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)).msg);
      done();
    },
  });
  const redisUrl = url.replace('//', `//${user}`);
  const api = await startTestApi({ redisUrl, requireDurable }, pino({ level: 'warn' }, log));
  const readiness = await (await api.get('/readyz')).text();
  await api.close();
  return { log: lines.join('\n'), readiness };
}

describe('a Redis that can lose accepted work', () => {
  it('is warned of at the start, and refused with FINDERY_REQUIRE_DURABLE', async () => {
    const volatile = await servers.start([
      ['appendonly', 'no'],
      ['maxmemory-policy', 'allkeys-lru'],
    ]);
    const { log } = await start(volatile, false);
    expect(log).toContain('Set appendonly yes');
    expect(log).toContain('Set maxmemory-policy noeviction');
    expect(log).toContain('Set maxmemory to what');
    await expect(start(volatile, true)).rejects.toThrow(
      /FINDERY_REQUIRE_DURABLE.*Set appendonly yes.*Set maxmemory-policy noeviction/s,
    );

    const lagging = await servers.start([['appendfsync', 'everysec']]);
    expect((await start(lagging, false)).log).toContain('Set appendfsync always');
    await expect(start(lagging, true)).rejects.toThrow(/appendfsync "everysec"/);
  });

  it('is not ready when its settings change while the API runs', async () => {
    const redis = await servers.start();
    const api = await startTestApi({ redisUrl: redis.url, requireDurable: true });
    expect(await (await api.get('/readyz')).text()).not.toContain('Redis');
    await redis.query((client) => client.config('SET', 'appendfsync', 'everysec'));
    expect(await (await api.get('/readyz')).text()).toContain('Set appendfsync always');
    await api.close();
  });

  it('is checked by INFO where CONFIG is forbidden; what INFO does not say is named', async () => {
    const managed = await servers.start([['user tenant', 'on >secret ~* &* +@all -config']]);
    const user = 'tenant:secret@';
    expect((await start(managed, true, user)).log).toContain('appendfsync of Redis could not be checked');
    await managed.query((client) => client.config('SET', 'maxmemory-policy', 'allkeys-lru'));
    await expect(start(managed, true, user)).rejects.toThrow(/Set maxmemory-policy noeviction/);
  });
});
