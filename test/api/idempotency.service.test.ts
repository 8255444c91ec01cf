import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { derivedId, newId } from '../../src/contract/ids.ts';
import { submitJob } from '../../src/jobs/submit.ts';
import { BEGINNING, readEvents } from '../../src/records/events.ts';
import { scopeStore } from '../../src/store/store.ts';
import { NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { expectProblem, PROMPT, queueJob, readOk, startTestApi, type TestApi } from '../support/test-api.ts';

/** No worker runs here; the tests change records as a worker would. */
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('Idempotency-Key', () => {
  const count = async () => (await api.store.jobs.list({ limit: Number.POSITIVE_INFINITY })).data.length;

  it('gives the same job for the same body, in any order of its members', async () => {
    const headers = { 'idempotency-key': 'order 66' };
    const first = await queueJob(api, { seed: 1, budget: { images: 5, patience: 2 } }, headers);
    const before = await count();
    const response = await api.post(
      '/v1/jobs',
      { budget: { patience: 2, images: 5 }, seed: 1, prompt: PROMPT },
      headers,
    );
    expect((await readOk(response, 202)).id).toBe(first.id);
    expect(response.headers.get('location')).toBe(`/v1/jobs/${first.id}`);
    expect(await count()).toBe(before);
  });

  it('refuses another body with the same key, and names the job', async () => {
    const headers = { 'idempotency-key': 'order 67' };
    const { id } = await queueJob(api, {}, headers);
    const before = await count();
    const response = await api.post('/v1/jobs', { prompt: 'a red cat' }, headers);
    const { detail } = await expectProblem(response, 422, 'idempotency-mismatch');
    expect(detail).toMatch(new RegExp(`"order 67".*${id}.*new key`));
    expect(await count()).toBe(before);
  });

  it('creates one job for ten simultaneous requests', async () => {
    const headers = { 'idempotency-key': 'order 68' };
    const before = await count();
    const jobs = await Promise.all(Array.from({ length: 10 }, () => queueJob(api, {}, headers)));
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(1);
    expect(new Set(jobs.map(({ seed, requestId }) => `${seed} ${requestId}`)).size).toBe(1);
    expect(await count()).toBe(before + 1);
    expect(await readEvents(api.store.redis, api.store.keys, jobs[0].id, BEGINNING)).toHaveLength(1);
  });

  it('does not overwrite a job when another API process creates it first', async () => {
    const first = await queueJob(api, { seed: 5 });
    await api.store.jobs.change(first.id, { set: { status: 'running' } });
    const settings = await api.store.jobs.get(first.id);
    const store = scopeStore(api.store, { tenant: 'default', key: null, limits: NO_LIMITS });
    await submitJob(
      store,
      { ...settings, seed: 6 },
      { id: first.id, warnings: [], requestId: 'late', now: '' },
    );
    expect(await api.store.jobs.get(first.id)).toEqual(settings);
    expect(await readEvents(api.store.redis, api.store.keys, first.id, BEGINNING)).toHaveLength(1);
  });

  it('is not reserved by a refused request', async () => {
    const headers = { 'idempotency-key': 'order 69' };
    await expectProblem(
      await api.post('/v1/jobs', { prompt: PROMPT, model: 'x' }, headers),
      422,
      'unknown-model',
    );
    await queueJob(api, {}, headers);
  });

  it('has at most 255 characters', async () => {
    const response = await api.post('/v1/jobs', { prompt: PROMPT }, { 'idempotency-key': 'k'.repeat(256) });
    const { errors } = await expectProblem(response, 400, 'bad-request');
    expect(errors?.[0]).toMatchObject({
      pointer: '/idempotency-key',
      message: expect.stringContaining('256 characters'),
    });
  });
});

describe('PUT /v1/jobs/{id}', () => {
  const put = (id: string, body: object) =>
    api.send('PUT', `/v1/jobs/${id}`, { 'content-type': 'application/json' }, JSON.stringify(body));

  it('creates a job under the given id, with the same response as a later GET', async () => {
    const id = newId('job');
    const response = await put(id, { prompt: PROMPT, seed: 3 });
    const job = await readOk(response, 202);
    expect(response.headers.get('location')).toBe(`/v1/jobs/${id}`);
    expect(response.headers.get('retry-after')).toBe('1');
    expect(job).toMatchObject({ id, status: 'queued', seed: 3 });
    expect(await readOk(await api.get(`/v1/jobs/${id}`), 200)).toEqual(job);
  });

  it('gives the same job for the same body, and 422 for another body', async () => {
    const id = newId('job');
    const jobs = await Promise.all(
      Array.from({ length: 5 }, async () => readOk(await put(id, { prompt: PROMPT }), 202)),
    );
    expect(new Set(jobs.map(({ seed, requestId }) => `${seed} ${requestId}`)).size).toBe(1);
    await readOk(await put(id, { prompt: PROMPT }), 202);
    const { detail } = await expectProblem(await put(id, { prompt: 'x' }), 422, 'idempotency-mismatch');
    expect(detail).toMatch(new RegExp(`${id} exists already.*new id`));
  });

  it('answers 409 for an id that belongs to something else', async () => {
    const id = newId('job');
    await api.store.redis.hset(api.store.keys.record(derivedId('pol', id)), 'id', '""');
    await expectProblem(await put(id, { prompt: PROMPT }), 409, 'conflict');
  });
});
