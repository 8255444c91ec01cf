import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { networkOf } from '../../src/api/auth/failed-authentication.ts';
import { type RunningApi, startApi } from '../../src/api/server.ts';
import type { Config } from '../../src/config/config.ts';
import { ApiKeys } from '../../src/tenancy/api-keys.ts';
import { createKey } from '../support/api-keys.ts';
import { expectProblem, startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;
let key: Record<string, string>;
beforeAll(async () => {
  api = await startTestApi({ failedKeys: 5 });
  key = (await createKey(api)).headers;
  await sleep(1100); // the server caches for a second that there are no keys
});
afterAll(() => api.close());
beforeEach(async () => {
  const counters = await api.store.redis.keys(`${api.store.keys.requestCountPrefix()}*`);
  if (counters.length > 0) await api.store.redis.del(...counters);
});

const wrong = (i: number) => ({ authorization: `Bearer fdy_${String(i).padStart(43, 'x')}` });

/** One more API on the same Redis. */
async function startAnother(more: Partial<Config>, lines: string[] = []): Promise<RunningApi> {
  const log = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(...String(chunk).split('\n').filter(Boolean));
      done();
    },
  });
  const config = { ...api.config, ...more };
  return startApi({ config, redisUrl: api.redisUrl, logger: pino({ level: 'info' }, log) });
}

describe('an address that sends many invalid keys', () => {
  it('gets 429 for the rest of the minute, from every process', async () => {
    for (let i = 0; i < 5; i++) await expectProblem(await api.get('/v1/jobs', wrong(i)), 401, 'unauthorized');
    const response = await api.get('/v1/jobs', wrong(5));
    const seconds = Number(response.headers.get('retry-after'));
    expect((await expectProblem(response, 429, 'rate-limited')).detail).toMatch(
      /more than 5 requests with invalid keys in a minute/,
    );
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(60);
    const other = await startAnother({});
    await expectProblem(await fetch(`${other.url}/v1/jobs`, { headers: wrong(6) }), 429, 'rate-limited');
    await other.close();
  });

  it('does not lock out valid keys there, also of a process that has not seen them', async () => {
    expect((await api.get('/v1/jobs', key)).status).toBe(200);
    const { headers } = await createKey(api);
    for (let i = 0; i < 6; i++) await api.get('/v1/jobs', wrong(i));
    await sleep(1100); // keys are cached for a second
    expect((await api.get('/v1/jobs', key)).status).toBe(200);
    expect((await api.get('/v1/jobs', headers)).status).toBe(200);
    const restarted = await startAnother({});
    expect((await fetch(`${restarted.url}/v1/jobs`, { headers: key })).status).toBe(200);
    await expectProblem(await fetch(`${restarted.url}/v1/jobs`, { headers: wrong(7) }), 429, 'rate-limited');
    await restarted.close();
    await expectProblem(await api.get('/v1/jobs'), 401, 'unauthorized');
    expect((await api.get('/healthz')).status).toBe(200);
  });

  it('learns nothing about a revoked key beyond the limit', async () => {
    const { key: old, headers } = await createKey(api);
    const keys = new ApiKeys(api.store.redis, api.store.keys);
    await keys.update(old.id, { revokedAt: new Date().toISOString() });
    for (let i = 0; i < 6; i++) await api.get('/v1/jobs', wrong(i));
    const details = [headers, wrong(7)].map(async (sent) =>
      (await expectProblem(await api.get('/v1/jobs', sent), 429, 'rate-limited')).detail.replace(/\d+ s/, ''),
    );
    expect(new Set(await Promise.all(details)).size).toBe(1);
  });

  it('is not limited when FINDERY_FAILED_KEYS is 0', async () => {
    const other = await startAnother({ failedKeys: 0 });
    for (let i = 0; i < 40; i++)
      expect((await fetch(`${other.url}/v1/jobs`, { headers: wrong(i) })).status).toBe(401);
    await other.close();
  });
});

describe('a proxy', () => {
  const ask = (url: string, forwarded: string, headers: Record<string, string>) =>
    fetch(`${url}/v1/jobs`, { headers: { ...headers, 'x-forwarded-for': forwarded } });

  it('that is not trusted does not set the address: all requests have its own', async () => {
    const statuses: number[] = [];
    for (let i = 0; i < 7; i++) statuses.push((await ask(api.url, `192.0.2.${i}`, wrong(i))).status);
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429]);
  });

  it('that is trusted sets the address, for limits and in the audit', async () => {
    const lines: string[] = [];
    const behind = await startAnother({ trustProxy: ['loopback'] }, lines);
    for (let i = 0; i < 6; i++) await ask(behind.url, '192.0.2.1', wrong(i));
    expect((await ask(behind.url, '192.0.2.1', wrong(9))).status).toBe(429);
    expect((await ask(behind.url, '192.0.2.2', wrong(9))).status).toBe(401);
    // The proxy writes only the last address; a client can forge those before it.
    expect((await ask(behind.url, '198.51.100.7, 192.0.2.1', wrong(9))).status).toBe(429);
    const audited = lines.map((line) => JSON.parse(line)).filter(({ audit }) => audit);
    expect(new Set(audited.map(({ address }) => address))).toEqual(new Set(['192.0.2.1', '192.0.2.2']));
    await behind.close();
  });

  it('that is trusted lets other machines in, so the service does not start without keys', async () => {
    const start = () =>
      startAnother({
        trustProxy: ['loopback'],
        redisPrefix: `${api.config.redisPrefix}-none`,
        dataFolder: join(api.folder, 'none'), // the storage of `api` remembers its keys
      });
    await expect(start()).rejects.toThrow(/FINDERY_TRUST_PROXY is "loopback".*\n.*findery keys create/);
  });
});

it.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::'],
  ['no address', 'no address'],
])('%s counts as %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});
