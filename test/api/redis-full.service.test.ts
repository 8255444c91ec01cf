import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensureRedis, type RedisService } from '../../src/cli/redis/ensure-redis.ts';
import { newId } from '../../src/contract/ids.ts';
import { NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { createKey, withHeaders } from '../support/api-keys.ts';
import { createEndedJob, createSample, findery } from '../support/sweep-api.ts';
import { expectProblem, PROMPT, queueJob, readOk, startTestApi, type TestApi } from '../support/test-api.ts';

/** A Redis that is full (maxmemory, noeviction): what makes room works, new work is refused. */
let folder: string;
let redis: RedisService;
let api: TestApi;
let revoked: string;
let ended: { job: string; policy: string };
let old: { job: string; policy: string };
let oldSample: string;
const waiting: string[] = [];

/** As large as metadata may be. */
const METADATA = Object.fromEntries(
  Array.from({ length: 16 }, (_, i) => [`key-${i}`.padEnd(60, 'k'), 'v'.repeat(500)]),
);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-full-'));
  redis = await ensureRedis({ dataDir: folder, log: () => {} });
  const open = await startTestApi({ redisUrl: redis.url });
  const limits = {
    ...NO_LIMITS,
    requestsPerMinute: 1000,
    queuedJobs: null,
    imagesPerDay: null,
    storedBytes: null,
  };
  const { headers } = await createKey(open, { tenant: 'default', scopes: ['admin'], limits });
  api = withHeaders(open, headers);
  ({ id: revoked } = (await createKey(open)).key);
  ended = await createEndedJob(api, 0);
  old = await createEndedJob(api, 10);
  oldSample = await createSample(api, ended.policy, 10);

  const info = await api.store.redis.info('memory');
  const used = Number(/used_memory:(\d+)/.exec(info)?.[1]);
  await api.store.redis.config('SET', 'maxmemory', used + 200_000);
});
afterAll(async () => {
  await api.store.redis.config('SET', 'maxmemory', 0);
  await api.close();
  await redis.stop();
  await rm(folder, { recursive: true, force: true });
});

it('new work is refused with a problem that says why', async () => {
  for (;;) {
    const response = await api.post('/v1/jobs', { prompt: PROMPT, metadata: METADATA });
    if (response.status === 503) {
      expect((await expectProblem(response, 503, 'unavailable')).detail).toMatch(
        /^Redis is full, so nothing/,
      );
      break;
    }
    waiting.push(String((await readOk(response, 202)).id));
    expect(waiting.length).toBeLessThan(200);
  }
  expect(waiting.length).toBeGreaterThan(0);
  // Others take memory too: from here on, every write that takes memory is refused.
  await api.store.redis.config('SET', 'maxmemory', '1mb');
  await expect(api.store.redis.set('any', '1')).rejects.toThrow(/^OOM /);
});

it('jobs can be read and canceled', async () => {
  const [id] = waiting;
  expect(await readOk(await api.get(`/v1/jobs/${id}`), 200)).toMatchObject({ status: 'queued' });
  const canceled = await api.post(`/v1/jobs/${id}/cancel`);
  expect(await readOk(canceled, 200)).toMatchObject({ status: 'canceled' });
  expect(await api.store.queues.has('optimize', id)).toBe(false);
  expect(await (await api.get(`/v1/jobs/${id}/events`)).text()).toContain('event: done');
});

it('jobs can be canceled with an idempotency key, which then has no effect', async () => {
  const cancel = () => api.post(`/v1/jobs/${waiting[1]}/cancel`, undefined, { 'idempotency-key': 'stop' });
  for (let i = 0; i < 2; i++) expect(await readOk(await cancel(), 200)).toMatchObject({ status: 'canceled' });
  const refused = await api.post('/v1/jobs', { prompt: PROMPT }, { 'idempotency-key': 'more' });
  await expectProblem(refused, 503, 'unavailable');
});

it('results of accepted work are stored, and notices can be leased', async () => {
  const { samples, webhooks } = api.store;
  const sample = await samples.get(oldSample);
  const result = { ...sample, id: newId('smp') };
  await expect(samples.create(result)).rejects.toThrow(/OOM /);
  expect(await samples.create(result, { isAccepted: true })).toBe(true);
  await expect(webhooks.outbox.lease(10, 1)).resolves.toBeInstanceOf(Array);
});

it('policies can be deleted', async () => {
  expect((await api.send('DELETE', `/v1/policies/${old.policy}`)).status).toBe(204);
  await expectProblem(await api.get(`/v1/policies/${old.policy}`), 410, 'gone');
});

it('findery sweep deletes', async () => {
  const { stdout } = await findery(api, '5', 'sweep');
  expect(stdout).toContain(`job ${old.job}: ended more than 5 days ago`);
  expect(stdout).toContain(`sample ${oldSample}: ended more than 5 days ago`);
  await expectProblem(await api.get(`/v1/jobs/${old.job}`), 410, 'gone');
  expect((await api.get(`/v1/jobs/${ended.job}`)).status).toBe(200);
});

it('findery keys revoke revokes', async () => {
  expect((await findery(api, '30', 'keys', 'revoke', revoked)).stdout).toContain('is revoked');
  expect((await findery(api, '30', 'keys', 'list')).stdout).toMatch(new RegExp(`${revoked}.* revoked `));
});

it('with room again, new work is accepted and the room that was made counts', async () => {
  await api.store.redis.config('SET', 'maxmemory', 0);
  await queueJob(api);
  expect(await api.store.redis.exists(api.store.keys.record(old.job))).toBe(0);
});
