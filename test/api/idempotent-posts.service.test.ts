import { rename, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestOf } from '../../src/api/http/idempotency.ts';
import { blobFolder } from '../../src/config/config.ts';
import { newId } from '../../src/contract/ids.ts';
import { removeJob } from '../../src/jobs/remove.ts';
import { sha256Of } from '../../src/sha256.ts';
import { encodePolicy } from '../../src/storage/policy-file.ts';
import { NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { createKey, withHeaders } from '../support/api-keys.ts';
import {
  expectProblem,
  PROMPT,
  queueJob,
  readOk,
  startTestApi,
  succeedJob,
  type TestApi,
} from '../support/test-api.ts';

/** No worker runs here; the tests change records as a worker would. */
let api: TestApi;
let policy: string;
let keyCount = 0;

beforeAll(async () => {
  api = await startTestApi({ webhookAllow: ['127.0.0.1'] });
  policy = String((await readOk(await api.post('/v1/policies', FILE, BINARY), 201)).id);
});
afterAll(() => api.close());

const FILE = encodePolicy(
  {
    shape: [4, 16, 16],
    mean: new Float32Array(1024),
    std: Float32Array.of(1),
    weights: Float32Array.of(1),
  },
  { prompt: PROMPT },
);
const BINARY = { 'content-type': 'application/octet-stream' };
const nextKey = () => ({ 'idempotency-key': `key ${++keyCount}` });
const entryOf = (headers: Record<string, string>, tenant = '') =>
  api.store.keys.idempotency(sha256Of(tenant + headers['idempotency-key']));
/** Without those of keys: the secret in their answers is not kept (`keys.service.test.ts`). */
const paths = async () => {
  const { paths } = (await (await api.get('/openapi.json')).json()) as { paths: Record<string, object> };
  return Object.entries(paths).flatMap(([path, methods]) =>
    'post' in methods && !path.startsWith('/v1/keys') ? [path] : [],
  );
};

/** A failed job, which takes every change of its life. */
async function failedJob(): Promise<string> {
  const { id } = await queueJob(api);
  await api.store.queues.remove('optimize', id);
  await api.store.jobs.change(id, { set: { status: 'failed' } });
  return id;
}

async function endpoint(): Promise<string> {
  return String(
    (await readOk(await api.post('/v1/webhook-endpoints', { url: 'http://127.0.0.1:9/' }), 201)).id,
  );
}

/** A request for each POST of the contract. */
const REQUESTS: Record<
  string,
  () => Promise<[id?: string, body?: unknown, headers?: Record<string, string>]>
> = {
  '/v1/jobs': async () => ['', { prompt: PROMPT }],
  '/v1/jobs/{id}/pause': async () => [(await queueJob(api)).id],
  '/v1/jobs/{id}/resume': async () => {
    const { id } = await queueJob(api);
    await readOk(await api.post(`/v1/jobs/${id}/pause`), 200);
    return [id];
  },
  '/v1/jobs/{id}/cancel': async () => [(await queueJob(api)).id],
  '/v1/jobs/{id}/retry': async () => [await failedJob()],
  '/v1/policies': async () => ['', FILE, BINARY],
  '/v1/policies/{id}/samples': async () => [policy, { count: 2 }],
  '/v1/samples': async () => ['', { prompt: PROMPT }],
  '/v1/images': async () => ['', { prompt: PROMPT }, { prefer: 'respond-async' }],
  '/v1/webhook-endpoints': async () => ['', { url: 'http://127.0.0.1:9/' }],
  '/v1/webhook-endpoints/{id}/rotate-secret': async () => [await endpoint()],
  '/v1/webhook-endpoints/{id}/test': async () => [await endpoint()],
  '/v1/webhook-deliveries/{id}/redeliver': async () => {
    const id = await endpoint();
    return [String((await readOk(await api.post(`/v1/webhook-endpoints/${id}/test`), 202)).id)];
  },
};

describe('every POST', () => {
  it('answers the same key with the first answer, bit for bit, and carries nothing out again', async () => {
    for (const path of await paths()) {
      expect(Object.keys(REQUESTS), 'a new POST needs a request here').toContain(path);
      const [id = '', body, more] = await REQUESTS[path]();
      const headers = { ...more, ...nextKey() };
      const send = () => api.post(path.replace('{id}', id), body, headers);
      const stored = () => api.store.redis.keys(api.store.keys.record('*'));
      const first = await send();
      const before = (await stored()).length;
      const text = await first.text();
      expect(first.ok, `${path} ${text}`).toBe(true);
      expect(first.headers.get('idempotent-replayed')).toBeNull();
      const again = await send();
      expect([path, again.status, await again.text()]).toEqual([path, first.status, text]);
      expect(again.headers.get('idempotent-replayed'), path).toBe('true');
      for (const name of ['content-type', 'location', 'retry-after'])
        expect(again.headers.get(name), path).toBe(first.headers.get(name));
      expect((await stored()).length, path).toBe(before);
      const other = path === '/v1/policies' ? `${path}?prompt=other` : '/v1/samples';
      const otherBody = path === '/v1/policies' ? FILE : { prompt: 'something else' };
      await expectProblem(await api.post(other, otherBody, headers), 422, 'idempotency-mismatch');
    }
  });

  it('remembers the key for 24 hours, for one tenant', async () => {
    const headers = nextKey();
    await queueJob(api, {}, headers);
    const seconds = await api.store.redis.ttl(entryOf(headers));
    expect(seconds).toBeGreaterThan(86_000);
    expect(seconds).toBeLessThanOrEqual(86_400);
  });
});

describe('the first answer', () => {
  it('is given also when the deadline of the request has passed', async () => {
    const headers = nextKey();
    const body = { prompt: PROMPT, deadline: new Date(Date.now() + 1500).toISOString() };
    const first = await (await api.post('/v1/jobs', body, headers)).text();
    await sleep(1600);
    await expectProblem(await api.post('/v1/jobs', body), 422, 'not-possible');
    const again = await api.post('/v1/jobs', body, headers);
    expect([again.status, await again.text()]).toEqual([202, first]);
  });

  it('is given also when retention has deleted its job; no job is made under the id', async () => {
    const headers = nextKey();
    const { id } = await queueJob(api, {}, headers);
    await succeedJob(api, id);
    expect(await removeJob(api.store, api.blobs, id, new Date().toISOString())).toBe(true);
    expect(await queueJob(api, {}, headers)).toMatchObject({ id, status: 'queued' });
    await expectProblem(await api.get(`/v1/jobs/${id}`), 410, 'gone');
    // Also when the answer was never kept, as after a crash.
    await api.store.redis.hdel(entryOf(headers), 'answer');
    await expectProblem(await api.post('/v1/jobs', { prompt: PROMPT }, headers), 410, 'gone');
    expect(await api.store.jobs.find(id)).toBeNull();
  });

  it('is made again from its record when it is too large to be kept', async () => {
    const headers = { ...nextKey(), prefer: 'wait=20' };
    const send = () => api.post('/v1/samples', { prompt: PROMPT, count: 64 }, headers);
    const sent = send();
    const find = async () => (await api.store.samples.list({ limit: 1 })).data[0];
    await expect.poll(async () => (await find())?.count).toBe(64);
    const { id } = (await find()) as { id: string };
    const images = Array.from({ length: 64 }, (_, index) => ({
      ...{ id: newId('img'), url: `/v1/images/${'x'.repeat(500)}`, seed: 1, index, reward: 0.5 },
      ...{ width: 8, height: 8, format: 'png' as const },
    }));
    await api.store.samples.change(id, { set: { status: 'succeeded', images } });
    const first = await (await sent).text();
    expect(await api.store.redis.hget(entryOf(headers), 'answer')).toBe('again');
    const again = await send();
    expect([again.status, await again.text()]).toEqual([200, first]);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
  });

  it('of release 0.1 is found by its key, which named the job', async () => {
    const headers = nextKey();
    const { id } = await queueJob(api, { seed: 9 });
    const body = { prompt: PROMPT, seed: 9 };
    const earlier = JSON.stringify({ id, digest: digestOf(body) });
    await api.store.redis.set(entryOf(headers), earlier, 'EX', 60);
    expect(await readOk(await api.post('/v1/jobs', body, headers), 202)).toMatchObject({ id });
    const other = await api.post('/v1/jobs', { prompt: 'x' }, headers);
    expect((await expectProblem(other, 422, 'idempotency-mismatch')).detail).toContain(id);
  });
});

describe('a key whose request', () => {
  it('failed with 503 is free for the same request, which makes one record', async () => {
    const headers = { ...BINARY, ...nextKey() };
    const folder = blobFolder(api.config);
    await rename(folder, `${folder}-away`);
    await writeFile(folder, ''); // storage is not a folder any more
    await expectProblem(await api.post('/v1/policies', FILE, headers), 503, 'unavailable');
    await rm(folder);
    await rename(`${folder}-away`, folder);
    const { id } = await readOk(await api.post('/v1/policies', FILE, headers), 201);
    expect(await readOk(await api.post('/v1/policies', FILE, headers), 201)).toMatchObject({ id });
  });

  it('is being carried out lets the same request wait for its answer, and refuses another one', async () => {
    const headers = { ...nextKey(), prefer: 'wait=3' };
    const texts = [1, 2].map(async () => (await api.post('/v1/samples', { prompt: PROMPT }, headers)).text());
    await expect.poll(() => api.store.redis.hexists(entryOf(headers), 'token')).toBe(1);
    const other = await api.post('/v1/samples', { prompt: 'x' }, headers);
    await expectProblem(other, 422, 'idempotency-mismatch');
    expect(new Set(await Promise.all(texts)).size).toBe(1);
  });

  it('died with its process is taken over, under the same id', async () => {
    const headers = nextKey();
    const { id } = await readOk(await api.post('/v1/samples', { prompt: PROMPT }, headers), 202);
    await api.store.redis.hdel(entryOf(headers), 'answer');
    await api.store.redis.hset(entryOf(headers), { token: 'of a dead process', lease: Date.now() + 1500 });
    const before = await api.store.samples.count();
    expect(await readOk(await api.post('/v1/samples', { prompt: PROMPT }, headers), 202)).toMatchObject({
      id,
    });
    expect(await api.store.samples.count()).toBe(before);
  });
});

describe('GET /v1/samples', () => {
  it('lists batches newest first, in pages, and finds one by its metadata, policy or status', async () => {
    const tag = { metadata: { batch: 'lost' } };
    const first = await readOk(await api.post('/v1/samples', { prompt: PROMPT, ...tag }), 202);
    const second = await readOk(await api.post(`/v1/policies/${policy}/samples`, tag), 202);
    const idsOf = async (query: string) => {
      const { data, nextAfter } = await readOk(await api.get(`/v1/samples?${query}`), 200);
      return [(data as { id: string }[]).map(({ id }) => id), nextAfter];
    };
    expect(await idsOf('metadata.batch=lost')).toEqual([[second.id, first.id], null]);
    expect(await idsOf('limit=1&metadata.batch=lost')).toEqual([[second.id], second.id]);
    expect((await idsOf(`limit=1&after=${second.id}`))[0]).toEqual([first.id]);
    expect(await idsOf(`metadata.batch=lost&policyId=${policy}`)).toEqual([[second.id], null]);
    expect((await idsOf('metadata.batch=lost&status=failed'))[0]).toEqual([]);
    const problem = await expectProblem(await api.get('/v1/samples?color=red'), 400, 'bad-request');
    expect(problem.detail).toContain('policyId');
  });
});

/** Last: from here on, the API asks for a key. */
describe('a key whose request', () => {
  it('was refused by a limit is free for the same and for another request', async () => {
    const limits = { ...NO_LIMITS, queuedJobs: 1 };
    const { headers: auth } = await createKey(api, { tenant: 'small', limits });
    await sleep(1100); // the server caches for a second that there are no keys
    const holder = withHeaders(api, auth);
    const { id } = await queueJob(holder);
    const [same, other] = [nextKey(), nextKey()];
    for (const headers of [same, other])
      await expectProblem(
        await holder.post('/v1/samples', { prompt: PROMPT }, headers),
        429,
        'quota-exceeded',
      );
    await readOk(await holder.post(`/v1/jobs/${id}/cancel`), 200);
    const sample = await readOk(await holder.post('/v1/samples', { prompt: PROMPT }, same), 202);
    await api.store.queues.remove('sample', String(sample.id));
    await queueJob(holder, { seed: 4 }, other);
  });
});
