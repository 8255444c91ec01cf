import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Authenticator } from '../../src/api/authenticator.ts';
import { startApi } from '../../src/api/server.ts';
import * as keys from '../../src/cli/commands/keys.ts';
import { createLogger } from '../../src/cli/logger.ts';
import { RedisKeys } from '../../src/redis/keys.ts';
import { encodePolicy } from '../../src/storage/policy-file.ts';
import type { ApiKey } from '../../src/tenancy/api-keys.ts';
import { as, makeKey } from '../support/key-holders.ts';
import { expectProblem, PROMPT, queueJob, readOk, startTestApi, type TestApi } from '../support/service.ts';

let api: TestApi;
const lines: { [name: string]: unknown }[] = [];
const log = new Writable({
  write(chunk: Buffer, _encoding, done) {
    for (const line of String(chunk).split('\n').filter(Boolean)) lines.push(JSON.parse(line));
    done();
  },
});

beforeAll(async () => {
  api = await startTestApi({}, pino({ level: 'info' }, log));
  await makeKey(api);
  await sleep(1100); // by then the server knows that there are keys
});
afterAll(() => api.close());

const environment = () => ({
  REDIS_URL: `redis://${api.store.redis.options.host}:${api.store.redis.options.port}`,
  FINDERY_REDIS_PREFIX: api.config.redisPrefix,
  FINDERY_DATA: api.folder,
});

/** `findery keys ...` on the Redis of the API, as a process. */
async function findery(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const program = fileURLToPath(new URL('../../src/cli/findery.ts', import.meta.url));
  const command = ['--disable-warning=ExperimentalWarning', program, 'keys', ...args];
  return promisify(execFile)(process.execPath, command, { env: { ...process.env, ...environment() } });
}

/** The same without a process, which takes its time to start; what it prints to standard output. */
async function keysCommand(...args: string[]): Promise<string> {
  for (const [name, value] of Object.entries(environment())) vi.stubEnv(name, value);
  const out = vi.spyOn(console, 'log').mockImplementation(() => {});
  const told = vi.spyOn(console, 'error').mockImplementation(() => {});
  try {
    await keys.run(args);
    return out.mock.calls.flat().join('\n');
  } finally {
    out.mockRestore();
    told.mockRestore();
    vi.unstubAllEnvs();
  }
}

/** `fetch` lets nobody choose the header Host. */
async function rawGet(
  { url }: TestApi,
  path: string,
  host: string,
): Promise<{ status?: number; body: string }> {
  const [response] = (await once(get(new URL(path, url), { headers: { host } }), 'response')) as [
    IncomingMessage,
  ];
  return { status: response.statusCode, body: await text(response) };
}

const holderOf = (secret: string) => as(api, { authorization: `Bearer ${secret}` });
const readList = async () =>
  JSON.parse(await keysCommand('list', '--json')) as (ApiKey & { lastUsedAt: string | null })[];

describe('keys', () => {
  it('are made on the command line, shown once, and kept as hashes', async () => {
    const { stdout, stderr } = await findery(
      'create',
      '--tenant',
      'acme',
      '--name',
      'ci',
      '--days',
      '30',
      '--images',
      '500',
    );
    const secret = stdout.trim();
    expect(secret).toMatch(/^fdy_[A-Za-z0-9_-]{43}$/);
    expect(stderr).toMatch(/key_\w+ of the tenant acme, for read, jobs:write, samples:write, until 20/);
    await readOk(await holderOf(secret).get('/v1/jobs'), 200);
    const [key] = (await readList()).filter(({ name }) => name === 'ci');
    expect(key).toMatchObject({
      tenant: 'acme',
      limits: { requestsPerMinute: 600, imagesPerDay: 500, queuedJobs: null },
    });
    await expect
      .poll(async () => (await readList()).find(({ id }) => id === key.id)?.lastUsedAt)
      .toMatch(/^20/);
    const kept = JSON.stringify(await api.store.redis.hgetall(api.store.keys.apiKeys()));
    expect(kept).toContain(key.id);
    expect(kept).not.toContain(secret.slice(4));
    expect(await keysCommand('list')).toMatch(
      /key_\w+ +ci +acme +read,jobs:write,samples:write +valid +600 /,
    );
  });

  it('are replaced while both count, and revoked within a second', async () => {
    const { secret, key } = await makeKey(api, { tenant: 'acme' });
    const rotated = await findery('rotate', key.id, '--grace', '1');
    const next = rotated.stdout.trim();
    expect(rotated.stderr).toMatch(new RegExp(`The old one, ${key.id}, counts until 20`));
    const { id } = await queueJob(holderOf(secret));
    await readOk(await holderOf(next).get(`/v1/jobs/${id}`), 200);
    expect(await keysCommand('revoke', key.id)).toMatch(/is revoked/);
    await sleep(1100);
    const { detail } = await expectProblem(await holderOf(secret).get('/v1/jobs'), 401, 'unauthorized');
    expect(detail).toMatch(new RegExp(`${key.id} was revoked at 20`));
    await readOk(await holderOf(next).get(`/v1/jobs/${id}`), 200);
  });

  it('that have ended, are unknown or are no keys are refused', async () => {
    const { secret } = await makeKey(api, { expiresAt: new Date(Date.now() + 300).toISOString() });
    await sleep(350);
    const cases: [string, RegExp][] = [
      [`Bearer ${secret}`, /ended at 20/],
      [`Bearer fdy_${'x'.repeat(43)}`, /not known/],
      ['Bearer fdy_short', /not understood/],
      ['Basic dXNlcjpwYXNz', /takes "Bearer fdy_/],
      ['', /not understood/],
    ];
    for (const [authorization, words] of cases) {
      const response = await api.get('/v1/jobs', { authorization });
      const { detail } = await expectProblem(response, 401, 'unauthorized');
      expect(detail).toMatch(words);
      expect(response.headers.get('www-authenticate')).toBe('Bearer realm="findery", error="invalid_token"');
    }
  });

  it.each([
    [
      ['create', '--scopes', 'write'],
      /--scopes holds "write"; it takes read, jobs:write, samples:write, admin/,
    ],
    [['create', '--tenant', 'A:b'], /"A:b" is no name of a tenant/],
    [['create', '--requests', 'many'], /--requests is "many"; it takes a whole number, or none/],
    [['revoke'], /Which key/],
    [['revoke', 'key_0'], /no valid key key_0/],
    [['frobnicate'], /There is no "keys frobnicate"/],
  ])('findery keys %j says what is wrong', async (args, words) => {
    await expect(keysCommand(...args)).rejects.toThrow(words);
  });
});

describe('a server', () => {
  it('that others reach does not start without keys, and says what to do', async () => {
    const redisUrl = `redis://${api.store.redis.options.host}:${api.store.redis.options.port}`;
    const config = { ...api.config, redisPrefix: `${api.config.redisPrefix}-none`, port: 0 };
    const start = (more: object) =>
      startApi({ config: { ...config, ...more }, redisUrl, logger: pino({ level: 'silent' }) });
    await expect(start({ host: '0.0.0.0', keys: 'auto' })).rejects.toThrow(
      /HOST is "0.0.0.0".*\n.*findery keys create.*\n.*FINDERY_KEYS=off/,
    );
    const { store } = api;
    const empty = { ...store, keys: new RedisKeys(config.redisPrefix) };
    const lacks = (host: string, keys: 'auto' | 'required' | 'off') =>
      new Authenticator(empty, { host, keys, trustProxy: [] }).lacksKeys();
    expect(await lacks('::', 'auto')).toBe(true);
    for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost'])
      expect(await lacks(host, 'auto')).toBe(false);
    expect([await lacks('127.0.0.1', 'required'), await lacks('0.0.0.0', 'off')]).toEqual([true, false]);
  });

  it('without keys serves this machine, and asks for keys as soon as there is one, for good', async () => {
    const own = await startTestApi();
    try {
      const { id } = await queueJob(own);
      for (const host of ['findery.example.com', 'evil.example:8080', '[2001:db8::1]:80'])
        expect((await rawGet(own, '/v1/jobs', host)).status, host).toBe(401);
      expect((await rawGet(own, '/v1/jobs', 'evil.example')).body).toMatch(
        /serves this machine alone.*evil.example/,
      );
      for (const host of ['localhost:8080', '127.0.0.1', '[::1]:8080'])
        expect((await rawGet(own, '/v1/jobs', host)).status, host).toBe(200);
      const { headers } = await makeKey(own, { tenant: 'acme' });
      await sleep(1100);
      await expectProblem(await own.get(`/v1/jobs/${id}`), 401, 'unauthorized');
      await own.store.redis.del(own.store.keys.apiKeys());
      await sleep(1100);
      await expectProblem(await own.get(`/v1/jobs/${id}`), 401, 'unauthorized');
      await expectProblem(await own.get(`/v1/jobs/${id}`, headers), 401, 'unauthorized');
    } finally {
      await own.close();
    }
  });
});

describe('limits', () => {
  const limits = { requestsPerMinute: null, queuedJobs: null, imagesPerDay: null, storedBytes: null };

  it('of requests are told in every answer, and in what is refused', async () => {
    const { headers } = await makeKey(api, { tenant: 'busy', limits: { ...limits, requestsPerMinute: 2 } });
    const left: string[] = [];
    for (let i = 0; i < 2; i++) {
      const response = await api.get('/v1/jobs', headers);
      expect(response.status).toBe(200);
      expect(response.headers.get('ratelimit-policy')).toBe('"requests";q=2;w=60');
      left.push(String(response.headers.get('ratelimit')));
    }
    expect(left).toEqual([
      expect.stringMatching(/^"requests";r=1;t=(60|59)$/),
      expect.stringMatching(/;r=0;t=\d+$/),
    ]);
    const refused = await api.get('/v1/jobs', headers);
    const { detail } = await expectProblem(refused, 429, 'rate-limited');
    expect(detail).toMatch(/may send 2 requests a minute/);
    expect(refused.headers.get('ratelimit')).toMatch(/^"requests";r=0;t=\d+$/);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    // Another key of the tenant has its own.
    expect((await api.get('/v1/jobs', (await makeKey(api, { tenant: 'busy' })).headers)).status).toBe(200);
  });

  it('of waiting work can’t be passed together, nor with another key of the tenant', async () => {
    const keys = await Promise.all(
      [1, 2].map(() => makeKey(api, { tenant: 'eager', limits: { ...limits, queuedJobs: 3 } })),
    );
    const holders = keys.map(({ headers }) => as(api, headers));
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) => holders[i % 2].post('/v1/jobs', { prompt: PROMPT })),
    );
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 202)).toHaveLength(3);
    expect(statuses.filter((status) => status === 429)).toHaveLength(9);
    const refused = await holders[0].post('/v1/samples', { prompt: PROMPT });
    const { detail } = await expectProblem(refused, 429, 'quota-exceeded');
    expect(detail).toMatch(/3 jobs and samples of yours wait already, and your key allows 3/);
    expect(refused.headers.get('retry-after')).toBe('10');
    const [{ id }] = (
      (await readOk(await holders[0].get('/v1/jobs'), 200)) as unknown as { data: { id: string }[] }
    ).data;
    expect((await holders[0].post(`/v1/jobs/${id}/cancel`)).status).toBe(200);
    expect((await holders[1].post('/v1/samples', { prompt: PROMPT })).status).toBe(202);
  });

  it('of images a day count all that a request may make, once', async () => {
    const { headers } = await makeKey(api, { tenant: 'thrifty', limits: { ...limits, imagesPerDay: 100 } });
    const holder = as(api, headers);
    const job = { budget: { images: 40 }, reportDraws: 8, samples: 4 }; // 40 + 2 * 8 + 4
    const retry = { 'idempotency-key': 'once' };
    for (let i = 0; i < 3; i++) await queueJob(holder, job, retry);
    const refused = await holder.post('/v1/jobs', { prompt: PROMPT, ...job });
    const { detail } = await expectProblem(refused, 429, 'quota-exceeded');
    expect(detail).toMatch(/up to 60 images.* allows 100 a day.* 60 of today's/);
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(86_400);
    await readOk(await holder.post('/v1/samples', { prompt: PROMPT, count: 2, bestOf: 40 }), 202);
    await expectProblem(
      await holder.post('/v1/samples', { prompt: PROMPT, count: 1 }),
      429,
      'quota-exceeded',
    );
  });

  it('of bytes in storage count policies, and are free again when they go', async () => {
    const file = encodePolicy(
      {
        shape: [4, 16, 16],
        mean: new Float32Array(1024),
        std: Float32Array.of(1),
        weights: Float32Array.of(1),
      },
      { prompt: PROMPT },
    );
    const storedBytes = Math.ceil(file.byteLength * 1.5);
    const holder = as(
      api,
      (await makeKey(api, { tenant: 'hoarder', limits: { ...limits, storedBytes } })).headers,
    );
    const upload = () => holder.post('/v1/policies', file, { 'content-type': 'application/octet-stream' });
    const { id } = await readOk(await upload(), 201);
    const { detail } = await expectProblem(await upload(), 429, 'quota-exceeded');
    expect(detail).toMatch(new RegExp(`take ${file.byteLength} bytes, and your key allows ${storedBytes}`));
    expect((await holder.send('DELETE', `/v1/policies/${id}`)).status).toBe(204);
    await readOk(await upload(), 201);
  });
});

describe('the log', () => {
  it('has a line for every write and every refusal, and no key', async () => {
    const { key, secret, headers } = await makeKey(api, { tenant: 'seen', name: 'studio' });
    const holder = as(api, headers);
    const { id } = await queueJob(holder);
    await holder.post(`/v1/jobs/${id}/cancel`);
    await holder.post('/v1/jobs', { prompt: '' });
    await holder.get('/v1/jobs');
    await api.post('/v1/jobs', { prompt: PROMPT });
    const of = () => lines.filter((line) => line.audit === true);
    await expect.poll(() => of().filter((line) => line.tenant === 'seen')).toHaveLength(3);
    expect(of().filter((line) => line.tenant === 'seen')).toMatchObject([
      { key: key.id, keyName: 'studio', action: 'createJob', target: id, status: 202, outcome: 'done' },
      { key: key.id, action: 'cancelJob', target: id, status: 200, outcome: 'done' },
      { key: key.id, action: 'createJob', target: null, status: 400, outcome: 'failed' },
    ]);
    expect(of().at(-1)).toMatchObject({ tenant: null, action: 'createJob', status: 401, outcome: 'refused' });
    expect(JSON.stringify(lines)).not.toContain(secret.slice(4));
  });

  it('has stars in place of secrets that are logged by name', () => {
    const logger = createLogger({ ...api.config, logLevel: 'info' }, 'test');
    const written: string[] = [];
    const stream = (logger as unknown as { [name: symbol]: { write(line: string): void } })[
      pino.symbols.streamSym
    ];
    stream.write = (line) => void written.push(line);
    logger.info(
      { headers: { authorization: 'Bearer fdy_x' }, webhook: { secret: 'whsec_x' }, secret: 'x1' },
      'hello',
    );
    logger.info({ req: { headers: { authorization: 'Bearer fdy_x' } } }, 'hello');
    expect(written.join('')).not.toMatch(/fdy_x|whsec_x|x1/);
    expect(written.join('')).toMatch(/\*\*\*/);
  });
});

describe('browsers', () => {
  it('are told to make no page of an answer; /docs is one', async () => {
    const response = await api.get('/healthz');
    expect(response.headers.get('content-security-policy')).toBe(
      "default-src 'none'; frame-ancestors 'none'",
    );
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    const docs = await api.get('/docs/');
    expect(docs.headers.get('content-security-policy')).toMatch(/script-src 'self'/);
  });

  it('may come from the origins that are configured, and ask before they send a key', async () => {
    const origin = 'https://app.example.com';
    const own = await startTestApi({ corsOrigins: [origin] });
    try {
      const asked = {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization',
      };
      const preflight = await own.send('OPTIONS', '/v1/jobs', asked);
      expect(preflight.status).toBe(204);
      expect(preflight.headers.get('access-control-allow-origin')).toBe(origin);
      expect(preflight.headers.get('access-control-allow-headers')).toBe('authorization');
      const response = await own.get('/v1/jobs', { origin });
      expect(response.headers.get('access-control-allow-origin')).toBe(origin);
      expect(response.headers.get('access-control-expose-headers')).toContain('ratelimit');
      const other = await own.get('/v1/jobs', { origin: 'https://evil.example' });
      expect(other.headers.get('access-control-allow-origin')).toBeNull();
      await expectProblem(await own.get('/nothing'), 404, 'not-found');
    } finally {
      await own.close();
    }
  });
});
