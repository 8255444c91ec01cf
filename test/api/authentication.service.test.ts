import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Authenticator } from '../../src/api/auth/authenticator.ts';
import { startApi } from '../../src/api/server.ts';
import * as keys from '../../src/cli/commands/keys.ts';
import { RedisKeys } from '../../src/redis/keys.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { hadKeys } from '../../src/storage/keys-marker.ts';
import type { ApiKey } from '../../src/tenancy/api-keys.ts';
import { createKey, withHeaders } from '../support/api-keys.ts';
import { expectProblem, queueJob, readOk, startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
  await createKey(api);
  await sleep(1100); // the server caches for a second that there are no keys
});
afterAll(() => api.close());

const environment = () => ({
  REDIS_URL: api.redisUrl,
  FINDERY_REDIS_PREFIX: api.config.redisPrefix,
  FINDERY_DATA: api.folder,
});

/** Runs `findery keys ...` on the Redis of the API, as a process. */
function findery(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  return finderyIn(api.folder, ...args);
}

/** The same with the storage of another folder. */
async function finderyIn(folder: string, ...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const program = fileURLToPath(new URL('../../src/cli/findery.ts', import.meta.url));
  const command = ['--disable-warning=ExperimentalWarning', program, 'keys', ...args];
  return promisify(execFile)(process.execPath, command, {
    env: { ...process.env, ...environment(), FINDERY_DATA: folder },
  });
}

/** Runs it in this process, which is faster. Returns its standard output. */
async function keysCommand(...args: string[]): Promise<string> {
  for (const [name, value] of Object.entries(environment())) vi.stubEnv(name, value);
  const out = vi.spyOn(console, 'log').mockImplementation(() => {});
  const errors = vi.spyOn(console, 'error').mockImplementation(() => {});
  try {
    await keys.run(args);
    return out.mock.calls.flat().join('\n');
  } finally {
    out.mockRestore();
    errors.mockRestore();
    vi.unstubAllEnvs();
  }
}

/** `fetch` does not allow to set the Host header. */
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

const holderOf = (secret: string) => withHeaders(api, { authorization: `Bearer ${secret}` });
const readList = async () =>
  JSON.parse(await keysCommand('list', '--json')) as (ApiKey & { lastUsedAt: string | null })[];

describe('keys', () => {
  it('are created on the command line, printed once and stored as hashes', async () => {
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
    const stored = JSON.stringify(await api.store.redis.hgetall(api.store.keys.apiKeys()));
    expect(stored).toContain(key.id);
    expect(stored).not.toContain(secret.slice(4));
    expect(await keysCommand('list')).toMatch(
      /key_\w+ +ci +acme +read,jobs:write,samples:write +valid +600 /,
    );
  });

  it('are noted in storage when the first one is created, before any service starts', async () => {
    const folder = `${api.folder}/new`;
    await finderyIn(folder, 'create');
    expect(await hadKeys(new FileBlobs(`${folder}/blobs`))).toBe(true);
  });

  it('are created also while storage is away, with a warning', async () => {
    const folder = `${api.folder}/away`;
    await mkdir(folder);
    await writeFile(`${folder}/blobs`, 'no folder');
    const { stdout, stderr } = await finderyIn(folder, 'create');
    await readOk(await holderOf(stdout.trim()).get('/v1/jobs'), 200);
    expect(stderr).toMatch(/Storage could not note that the service has keys.*Start the service once/s);
  });

  it('are rotated with a time in which both are valid, and revoked within a second', async () => {
    const { secret, key } = await createKey(api, { tenant: 'acme' });
    const rotated = await findery('rotate', key.id, '--grace', '1');
    const next = rotated.stdout.trim();
    expect(rotated.stderr).toMatch(new RegExp(`The old key ${key.id} is valid until 20`));
    const { id } = await queueJob(holderOf(secret));
    await readOk(await holderOf(next).get(`/v1/jobs/${id}`), 200);
    expect(await keysCommand('revoke', key.id)).toMatch(/is revoked/);
    await sleep(1100);
    const { detail } = await expectProblem(await holderOf(secret).get('/v1/jobs'), 401, 'unauthorized');
    expect(detail).toMatch(new RegExp(`${key.id} was revoked at 20`));
    await readOk(await holderOf(next).get(`/v1/jobs/${id}`), 200);
  });

  it('are rotated to other scopes with --scopes', async () => {
    const { key } = await createKey(api, { tenant: 'acme' });
    const { stdout, stderr } = await findery('rotate', key.id, '--scopes', 'read,webhooks:write');
    expect(stderr).toMatch(/for read, webhooks:write/);
    const holder = holderOf(stdout.trim());
    await readOk(await holder.get('/v1/webhook-endpoints'), 200);
    await expectProblem(await holder.post('/v1/jobs', { prompt: 'a cat' }), 403, 'forbidden');
  });

  it('are refused when they are expired, unknown or malformed', async () => {
    const { secret } = await createKey(api, { expiresAt: new Date(Date.now() + 300).toISOString() });
    await sleep(350);
    const cases: [string, RegExp][] = [
      [`Bearer ${secret}`, /expired at 20/],
      [`Bearer fdy_${'x'.repeat(43)}`, /not known here/],
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
      /--scopes holds "write"; it takes read, .*webhooks:write, metrics:read, tenant-admin, admin/,
    ],
    [['create', '--tenant', 'A:b'], /"A:b" is not a name of a tenant/],
    [['create', '--requests', 'many'], /--requests is "many"; it takes a whole number, or none/],
    [['revoke'], /Which key/],
    [['revoke', 'key_0'], /no valid key key_0/],
    [['frobnicate'], /There is no "keys frobnicate"/],
  ])('findery keys %j says what is wrong', async (args, words) => {
    await expect(keysCommand(...args)).rejects.toThrow(words);
  });
});

describe('a server', () => {
  it('that other machines can reach does not start without keys, and says what to do', async () => {
    const { redisUrl } = api;
    const config = { ...api.config, redisPrefix: `${api.config.redisPrefix}-none`, port: 0 };
    const start = (more: object) =>
      startApi({
        config: { ...config, dataFolder: `${api.folder}/none`, ...more },
        redisUrl,
        logger: pino({ level: 'silent' }),
      });
    await expect(start({ host: '0.0.0.0', keys: 'auto' })).rejects.toThrow(
      /HOST is "0.0.0.0".*\n.*findery keys create.*\n.*FINDERY_KEYS=off/,
    );
    const { store } = api;
    const empty = { ...store, keys: new RedisKeys(config.redisPrefix) };
    const blobs = new FileBlobs(`${api.folder}/none`);
    const lacks = (host: string, keys: 'auto' | 'required' | 'off') =>
      new Authenticator(empty, { host, keys, trustProxy: [] }, blobs).lacksKeys();
    expect(await lacks('::', 'auto')).toBe('none');
    for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost'])
      expect(await lacks(host, 'auto')).toBe(null);
    expect([await lacks('127.0.0.1', 'required'), await lacks('0.0.0.0', 'off')]).toEqual(['none', null]);
  });

  it('without keys serves only its own machine, and requires keys from the first key on', async () => {
    const own = await startTestApi();
    try {
      const { id } = await queueJob(own);
      for (const host of ['findery.example.com', 'evil.example:8080', '[2001:db8::1]:80'])
        expect((await rawGet(own, '/v1/jobs', host)).status, host).toBe(401);
      expect((await rawGet(own, '/v1/jobs', 'evil.example')).body).toMatch(
        /serves only this machine.*evil.example/,
      );
      for (const host of ['localhost:8080', '127.0.0.1', '[::1]:8080'])
        expect((await rawGet(own, '/v1/jobs', host)).status, host).toBe(200);
      for (const name of ['Forwarded', 'Via', 'X-Forwarded-For', 'X-Forwarded-Proto', 'X-Real-IP']) {
        const { detail } = await expectProblem(
          await own.get('/v1/jobs', { [name]: 'x' }),
          401,
          'unauthorized',
        );
        expect(detail).toContain(`came through a proxy (it has the header ${name.toLowerCase()})`);
      }
      const { headers } = await createKey(own, { tenant: 'acme' });
      await sleep(1100);
      await expectProblem(await own.get(`/v1/jobs/${id}`), 401, 'unauthorized');
      await own.store.redis.del(own.store.keys.apiKeys());
      await sleep(1100);
      await expectProblem(await own.get(`/v1/jobs/${id}`), 401, 'unauthorized');
      await expectProblem(await own.get(`/v1/jobs/${id}`, headers), 401, 'unauthorized');
      // A new process knows from storage that there were keys.
      const again = startApi({
        config: own.config,
        redisUrl: own.redisUrl,
        logger: pino({ level: 'silent' }),
      });
      await expect(again).rejects.toThrow(/had keys, and its Redis has none.*\n.*findery keys create/);
    } finally {
      await own.close();
    }
  });
});
