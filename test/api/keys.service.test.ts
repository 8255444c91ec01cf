import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Scope } from '../../src/contract/scopes.ts';
import { hadKeys } from '../../src/storage/keys-marker.ts';
import { NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { createKey, withHeaders } from '../support/api-keys.ts';
import { expectProblem, expectProblemText, readOk, startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;
let admin: TestApi;
let adminId: string;
const lines: string[] = [];
beforeAll(async () => {
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  api = await startTestApi({}, pino({ level: 'info' }, stream));
  const { headers, key } = await createKey(api, { tenant: 'house', scopes: ['admin'] });
  admin = withHeaders(api, headers);
  adminId = key.id;
});
afterAll(() => api.close());

/** The API with the admin key of a tenant, and that key's id. */
async function tenantAdmin(tenant: string, limits = {}): Promise<TestApi & { readonly keyId: string }> {
  const scopes = ['tenant-admin'] as const;
  const { headers, key } = await createKey(api, { tenant, scopes, limits: { ...NO_LIMITS, ...limits } });
  return { ...withHeaders(api, headers), keyId: key.id };
}

const holderOf = (answer: { readonly [name: string]: unknown }) =>
  withHeaders(api, { authorization: `Bearer ${answer.secret}` });
const revoke = (who: TestApi, id: unknown, query = '') => who.send('DELETE', `/v1/keys/${id}${query}`);

describe('keys over HTTP', () => {
  it('are created with a secret that one answer has, and found without it', async () => {
    const body = { name: 'web', tenant: 'acme', scopes: ['read'], limits: { imagesPerDay: 500 } };
    const response = await admin.post('/v1/keys', { ...body, expiresAt: '2100-01-01T02:00:00+02:00' });
    expect(response.headers.get('cache-control')).toBe('no-store');
    const made = await readOk(response, 201);
    expect(made).toMatchObject({
      ...body,
      object: 'key',
      state: 'valid',
      expiresAt: '2100-01-01T00:00:00.000Z',
      limits: { imagesPerDay: 500, queuedJobs: null, storedBytes: null, requestsPerMinute: 600 },
      replaces: null,
    });
    expect(response.headers.get('location')).toBe(`/v1/keys/${made.id}`);
    await readOk(await holderOf(made).get('/v1/jobs'), 200);
    const text = await (await admin.get(`/v1/keys/${made.id}`)).text();
    expect(JSON.parse(text)).toMatchObject({ id: made.id, name: 'web', state: 'valid' });
    expect(text + (await (await admin.get('/v1/keys')).text()) + lines.join('')).not.toContain(made.secret);
    const stored = JSON.stringify(await api.store.redis.hgetall(api.store.keys.apiKeys()));
    expect(stored).not.toContain(made.secret);
  });

  it('are listed newest first, in pages: its own for a tenant, all for an admin', async () => {
    const who = await tenantAdmin('lists');
    const made: unknown[] = [];
    for (const name of ['1', '2', '3']) {
      made.push((await readOk(await who.post('/v1/keys', { name }), 201)).id);
      await sleep(2); // sorted by milliseconds
    }
    const first = await readOk(await who.get('/v1/keys?limit=2'), 200);
    expect(first).toMatchObject({
      hasMore: true,
      nextAfter: made[1],
      data: [{ id: made[2] }, { id: made[1] }],
    });
    const rest = await readOk(await who.get(`/v1/keys?limit=2&after=${first.nextAfter}`), 200);
    expect(rest).toMatchObject({
      hasMore: false,
      nextAfter: null,
      data: [{ id: made[0] }, { id: who.keyId }],
    });
    expect(await readOk(await who.get('/v1/keys?tenant=house'), 200)).toMatchObject({ data: [] });
    const all = await readOk(await admin.get('/v1/keys?limit=100'), 200);
    expect(JSON.stringify(all)).toContain(adminId);
    expect((await readOk(await admin.get('/v1/keys?tenant=lists'), 200)).data).toHaveLength(4);
  });

  it('are rotated in one step, and the old one ends', async () => {
    const made = await readOk(await admin.post('/v1/keys', { tenant: 'turn', scopes: ['read'] }), 201);
    const next = await readOk(await admin.post(`/v1/keys/${made.id}/rotate`, { graceSeconds: 1 }), 201);
    expect(next).toMatchObject({ tenant: 'turn', scopes: ['read'], replaces: { id: made.id } });
    await readOk(await holderOf(next).get('/v1/jobs'), 200);
    await sleep(2100);
    await expectProblem(await holderOf(made).get('/v1/jobs'), 401, 'unauthorized');
    await expectProblem(await admin.post(`/v1/keys/${made.id}/rotate`), 409, 'conflict');
    const narrow = await readOk(
      await admin.post(`/v1/keys/${next.id}/rotate`, { scopes: ['metrics:read'] }),
      201,
    );
    expect(narrow.scopes).toEqual(['metrics:read']);
  });

  it('are revoked within a second, for good', async () => {
    const made = await readOk(await admin.post('/v1/keys'), 201);
    expect((await revoke(admin, made.id)).status).toBe(204);
    const { revokedAt } = await readOk(await admin.get(`/v1/keys/${made.id}`), 200);
    expect((await revoke(admin, made.id)).status).toBe(204);
    expect(await readOk(await admin.get(`/v1/keys/${made.id}`), 200)).toMatchObject({
      revokedAt,
      state: 'revoked',
    });
    await expectProblem(await holderOf(made).get('/v1/jobs'), 401, 'unauthorized');
    await expectProblem(await revoke(admin, 'key_000000000000'), 404, 'not-found');
  });

  it('leave an audit line for each change', async () => {
    const { id } = await readOk(await admin.post('/v1/keys', { name: 'audited' }), 201);
    await revoke(admin, id);
    await expect
      .poll(() =>
        lines
          .map((line) => JSON.parse(line) as Record<string, unknown>)
          .filter(({ audit, target }) => audit && target === id)
          .map(({ action, key, outcome }) => [action, key, outcome]),
      )
      .toEqual([
        ['createKey', adminId, 'done'],
        ['revokeKey', adminId, 'done'],
      ]);
  });
});

describe('an admin of a tenant', () => {
  it('creates keys with what its own key has, and with its limits if none are named', async () => {
    const who = await tenantAdmin('small', { imagesPerDay: 100, requestsPerMinute: 50 });
    const made = await readOk(await who.post('/v1/keys', { scopes: ['read', 'webhooks:write'] }), 201);
    expect(made).toMatchObject({
      tenant: 'small',
      limits: { imagesPerDay: 100, requestsPerMinute: 50, queuedJobs: null },
    });
    await readOk(await who.post('/v1/keys', { scopes: ['tenant-admin'], limits: { imagesPerDay: 0 } }), 201);
  });

  it.each<[string, object, RegExp]>([
    ['another tenant', { tenant: 'house' }, /Keys of the tenant "house" require a key with the scope admin/],
    ['admin', { scopes: ['admin'] }, /A key with admin is managed by a key with the scope admin/],
    ['metrics:read', { scopes: ['read', 'metrics:read'] }, /A key with metrics:read/],
    ['a larger limit', { limits: { imagesPerDay: 101 } }, /imagesPerDay of the key would be 101; .* is 100/],
    ['no limit', { limits: { imagesPerDay: null } }, /imagesPerDay of the key would be none; .* is 100/],
  ])('does not grant %s', async (_, body, words) => {
    const who = await tenantAdmin('strict', { imagesPerDay: 100 });
    const problem = await expectProblem(await who.post('/v1/keys', body), 403, 'forbidden');
    expect(problem.detail).toMatch(words);
  });

  it('does not get hold of stronger keys of its tenant, nor end them', async () => {
    const who = await tenantAdmin('mixed', { imagesPerDay: 100 });
    const strong = (scopes: readonly Scope[]) => createKey(api, { tenant: 'mixed', scopes });
    const { key } = await strong(['admin']);
    for (const body of [undefined, { scopes: ['read'] }])
      await expectProblem(await who.post(`/v1/keys/${key.id}/rotate`, body), 403, 'forbidden');
    await expectProblem(await revoke(who, key.id), 403, 'forbidden');
    const unlimited = await strong(['read']);
    await expectProblem(await who.post(`/v1/keys/${unlimited.key.id}/rotate`), 403, 'forbidden');
    expect((await revoke(who, unlimited.key.id)).status).toBe(204);
    for (const path of [`/v1/keys/${adminId}`, `/v1/keys/${adminId}/rotate`])
      await expectProblem(await who.send(path.endsWith('e') ? 'POST' : 'GET', path), 404, 'not-found');
    await expectProblem(await revoke(who, adminId), 404, 'not-found');
  });

  it('is needed: other scopes reach no key', async () => {
    const scopes = ['read', 'jobs:write', 'samples:write', 'webhooks:write', 'metrics:read'] as const;
    const other = withHeaders(api, (await createKey(api, { scopes })).headers);
    await expectProblem(await other.get('/v1/keys'), 403, 'forbidden');
    await expectProblem(await other.post('/v1/keys', { scopes: ['read'] }), 403, 'forbidden');
  });
});

describe('a repeated request for a key', () => {
  it.each(['/v1/keys', 'rotate'])('%s is a 409 that names the key, and makes no second one', async (path) => {
    const who = await tenantAdmin(path === 'rotate' ? 'again' : 'once');
    const { id: old } = await readOk(await who.post('/v1/keys', { name: 'old' }), 201);
    const address = path === 'rotate' ? `/v1/keys/${old}/rotate` : path;
    const headers = { 'idempotency-key': 'a lost answer' };
    const send = () => who.post(address, { scopes: ['read'] }, headers);
    const answers = await Promise.all([send(), send()]);
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409]);
    const made = await readOk(answers.find(({ status }) => status === 201) as Response, 201);
    const repeated = await send();
    expect(repeated.headers.get('idempotent-replayed')).toBeNull();
    const { detail } = await expectProblem(repeated, 409, 'conflict');
    expect(detail).toContain(`has made the key ${made.id}`);
    expect((await readOk(await who.get('/v1/keys'), 200)).data).toHaveLength(3);
    const { redis, keys } = api.store;
    for (const key of await redis.keys(keys.idempotency('*')))
      expect(JSON.stringify(await redis.hgetall(key))).not.toContain(made.secret);
    const rescued = await readOk(await who.post(`/v1/keys/${made.id}/rotate`), 201);
    await readOk(await holderOf(rescued).get('/v1/jobs'), 200);
  });
});

describe('the last key with the scope admin', () => {
  it('is revoked or weakened with force only', async () => {
    const own = await startTestApi();
    onTestFinished(() => own.close());
    const { headers, key } = await createKey(own, { scopes: ['admin'] });
    const last = withHeaders(own, headers);
    await createKey(own, { scopes: ['admin'], expiresAt: new Date(Date.now() + 20).toISOString() });
    await sleep(25);
    const refusal = await expectProblem(await revoke(last, key.id), 409, 'conflict');
    expectProblemText(refusal, [null, 'last valid key with the scope admin', '?force=true']);
    const weaker = { scopes: ['read'] };
    await expectProblem(await last.post(`/v1/keys/${key.id}/rotate`, weaker), 409, 'conflict');
    const second = await readOk(await last.post('/v1/keys', { scopes: ['admin'] }), 201);
    expect((await revoke(last, second.id)).status).toBe(204);
    expect((await revoke(last, key.id, '?force=true')).status).toBe(204);
  });

  it('is the first one of a service without keys, which asks for keys then and remembers it', async () => {
    const own = await startTestApi();
    onTestFinished(() => own.close());
    const { detail } = await expectProblem(await own.post('/v1/keys', { scopes: ['read'] }), 409, 'conflict');
    expect(detail).toMatch(/Give the first key the scope admin/);
    expect(await hadKeys(own.blobs)).toBe(false);
    const made = await readOk(await own.post('/v1/keys', { scopes: ['admin'] }), 201);
    expect(await hadKeys(own.blobs)).toBe(true);
    await sleep(1100);
    await expectProblem(await own.get('/v1/keys'), 401, 'unauthorized');
    await readOk(await own.get('/v1/keys', { authorization: `Bearer ${made.secret}` }), 200);
  });
});
