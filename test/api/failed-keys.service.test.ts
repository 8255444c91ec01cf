import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { networkOf } from '../../src/api/failed-keys.ts';
import { type RunningApi, startApi } from '../../src/api/server.ts';
import type { Config } from '../../src/config/config.ts';
import { makeKey } from '../support/key-holders.ts';
import { expectProblem, startTestApi, type TestApi } from '../support/service.ts';

let api: TestApi;
let key: Record<string, string>;
beforeAll(async () => {
  api = await startTestApi({ failedKeys: 5 });
  key = (await makeKey(api)).headers;
  await sleep(1100); // by then the server knows that there are keys
});
afterAll(() => api.close());
beforeEach(async () => {
  const counters = await api.store.redis.keys(`${api.store.keys.requests()}*`);
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

describe('an address that sends many keys that do not count', () => {
  it('is answered 429 for the rest of the minute, by every process', async () => {
    for (let i = 0; i < 5; i++) await expectProblem(await api.get('/v1/jobs', wrong(i)), 401, 'unauthorized');
    const response = await api.get('/v1/jobs', wrong(5));
    const seconds = Number(response.headers.get('retry-after'));
    expect((await expectProblem(response, 429, 'rate-limited')).detail).toMatch(/more than 5 in a minute/);
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(60);
    const other = await startAnother({});
    await expectProblem(await fetch(`${other.url}/v1/jobs`, { headers: wrong(6) }), 429, 'rate-limited');
    await other.close();
  });

  it('does not lock out a key that is in use there; one that nobody knows yet waits', async () => {
    expect((await api.get('/v1/jobs', key)).status).toBe(200);
    const { headers } = await makeKey(api);
    for (let i = 0; i < 6; i++) await api.get('/v1/jobs', wrong(i));
    await sleep(1100); // what is remembered of a key counts for a second
    expect((await api.get('/v1/jobs', key)).status).toBe(200);
    await expectProblem(await api.get('/v1/jobs', headers), 429, 'rate-limited');
    await expectProblem(await api.get('/v1/jobs'), 401, 'unauthorized');
    expect((await api.get('/healthz')).status).toBe(200);
  });

  it('does not count where FINDERY_FAILED_KEYS is 0', async () => {
    const other = await startAnother({ failedKeys: 0 });
    for (let i = 0; i < 40; i++)
      expect((await fetch(`${other.url}/v1/jobs`, { headers: wrong(i) })).status).toBe(401);
    await other.close();
  });
});

describe('a proxy', () => {
  const ask = (url: string, forwarded: string, headers: Record<string, string>) =>
    fetch(`${url}/v1/jobs`, { headers: { ...headers, 'x-forwarded-for': forwarded } });

  it('that is not told of is not believed: whoever is behind it has its address', async () => {
    const statuses: number[] = [];
    for (let i = 0; i < 7; i++) statuses.push((await ask(api.url, `192.0.2.${i}`, wrong(i))).status);
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429]);
  });

  it('that is told of says where requests come from: for limits, and in the audit', async () => {
    const lines: string[] = [];
    const behind = await startAnother({ trustProxy: ['loopback'] }, lines);
    for (let i = 0; i < 6; i++) await ask(behind.url, '192.0.2.1', wrong(i));
    expect((await ask(behind.url, '192.0.2.1', wrong(9))).status).toBe(429);
    expect((await ask(behind.url, '192.0.2.2', wrong(9))).status).toBe(401);
    // Only the last hop was written by the proxy: what a client puts before it is worth nothing.
    expect((await ask(behind.url, '198.51.100.7, 192.0.2.1', wrong(9))).status).toBe(429);
    const audited = lines.map((line) => JSON.parse(line)).filter(({ audit }) => audit);
    expect(new Set(audited.map(({ address }) => address))).toEqual(new Set(['192.0.2.1', '192.0.2.2']));
    await behind.close();
  });

  it('lets others in, so a key is asked for, and without any the service does not start', async () => {
    const start = () =>
      startAnother({ trustProxy: ['loopback'], redisPrefix: `${api.config.redisPrefix}-none` });
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
