import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { removeJob } from '../../src/jobs/remove.ts';
import { encodePolicy } from '../../src/storage/policy-file.ts';
import { NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { createKey, withHeaders } from '../support/api-keys.ts';
import {
  expectProblem,
  type JsonAnswer,
  PROMPT,
  queueJob,
  readOk,
  startTestApi,
  type TestApi,
} from '../support/test-api.ts';

let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('limits', () => {
  const limits = {
    ...NO_LIMITS,
    requestsPerMinute: null,
    queuedJobs: null,
    imagesPerDay: null,
    storedBytes: null,
  };

  it('of requests a minute are in the headers of every response, also of refusals', async () => {
    const { headers } = await createKey(api, { tenant: 'busy', limits: { ...limits, requestsPerMinute: 2 } });
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
    // Each key of a tenant has its own count.
    expect((await api.get('/v1/jobs', (await createKey(api, { tenant: 'busy' })).headers)).status).toBe(200);
  });

  it('of waiting work hold for simultaneous requests and for all keys of the tenant', async () => {
    const keys = await Promise.all(
      [1, 2].map(() => createKey(api, { tenant: 'eager', limits: { ...limits, queuedJobs: 3 } })),
    );
    const holders = keys.map(({ headers }) => withHeaders(api, headers));
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) => holders[i % 2].post('/v1/jobs', { prompt: PROMPT })),
    );
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 202)).toHaveLength(3);
    expect(statuses.filter((status) => status === 429)).toHaveLength(9);
    const refused = await holders[0].post('/v1/samples', { prompt: PROMPT });
    const { detail } = await expectProblem(refused, 429, 'quota-exceeded');
    expect(detail).toMatch(/3 of your jobs and samples are waiting, and your key allows 3/);
    expect(refused.headers.get('retry-after')).toBe('10');
    const [{ id }] = (
      (await readOk(await holders[0].get('/v1/jobs'), 200)) as JsonAnswer & { data: { id: string }[] }
    ).data;
    expect((await holders[0].post(`/v1/jobs/${id}/cancel`)).status).toBe(200);
    expect((await holders[1].post('/v1/samples', { prompt: PROMPT })).status).toBe(202);
  });

  it('of images a day count all images that a request may make, and a repeated request once', async () => {
    const { headers } = await createKey(api, { tenant: 'thrifty', limits: { ...limits, imagesPerDay: 100 } });
    const holder = withHeaders(api, headers);
    const job = { budget: { images: 40 }, reportDraws: 8, samples: 4 }; // 40 + 2 * 8 + 4
    const retry = { 'idempotency-key': 'once' };
    for (let i = 0; i < 3; i++) await queueJob(holder, job, retry);
    const refused = await holder.post('/v1/jobs', { prompt: PROMPT, ...job });
    const { detail } = await expectProblem(refused, 429, 'quota-exceeded');
    expect(detail).toMatch(/up to 60 images.* allows 100 a day.* 60 were requested today/);
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(86_400);
    await readOk(await holder.post('/v1/samples', { prompt: PROMPT, count: 2, bestOf: 40 }), 202);
    await expectProblem(
      await holder.post('/v1/samples', { prompt: PROMPT, count: 1 }),
      429,
      'quota-exceeded',
    );
  });

  it('of the size of a job and of samples name what exceeds them', async () => {
    const sizes = { imagesPerJob: 50, secondsPerJob: 600, pixelStepsPerImage: 128 * 128 * 10 };
    const { headers } = await createKey(api, { tenant: 'sized', limits: { ...limits, ...sizes } });
    const holder = withHeaders(api, headers);
    const fits = { budget: { images: 30, seconds: 600 }, reportDraws: 8, samples: 4, sampler: { steps: 2 } };
    await queueJob(holder, fits); // 30 + 2 * 8 + 4 images
    const refuse = async (path: string, body: object) =>
      (await expectProblem(await holder.post(path, { prompt: PROMPT, ...body }), 422, 'not-possible')).detail;
    expect(await refuse('/v1/jobs', { ...fits, samples: 5 })).toMatch(/up to 51 images .* allows 50/);
    expect(await refuse('/v1/jobs', { ...fits, budget: { images: 30, seconds: 601 } })).toMatch(
      /search for 601 seconds.*allows 600 seconds/,
    );
    expect(await refuse('/v1/jobs', { ...fits, budget: { images: 30 } })).toMatch(
      /search for any time.*Set budget.seconds to 600 or less/,
    );
    const slow = await refuse('/v1/jobs', { ...fits, samples: 5, sampler: { steps: 100 } });
    expect(slow).toMatch(/51 images.*in 100 steps is \d+ pixel steps, and your key allows 163840/);
    expect(await refuse('/v1/samples', { count: 1, bestOf: 51, steps: 2 })).toMatch(/51 images/);
    await readOk(await holder.post('/v1/samples', { prompt: PROMPT, count: 1, steps: 2 }), 202);
  });

  it('of bytes in storage count policies until they are deleted', async () => {
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
    const holder = withHeaders(
      api,
      (await createKey(api, { tenant: 'hoarder', limits: { ...limits, storedBytes } })).headers,
    );
    const upload = () => holder.post('/v1/policies', file, { 'content-type': 'application/octet-stream' });
    const { id } = await readOk(await upload(), 201);
    const { detail } = await expectProblem(await upload(), 429, 'quota-exceeded');
    expect(detail).toMatch(new RegExp(`take ${file.byteLength} bytes, and your key allows ${storedBytes}`));
    expect((await holder.send('DELETE', `/v1/policies/${id}`)).status).toBe(204);
    await readOk(await upload(), 201);
  });

  it('of bytes in storage count the records of jobs until they are removed', async () => {
    const { store, blobs } = api;
    const { headers } = await createKey(api, {
      tenant: 'teller',
      limits: { ...limits, storedBytes: 20_000 },
    });
    const holder = withHeaders(api, headers);
    const metadata = Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`${i}`, 'v'.repeat(500)]));
    const ids: string[] = [];
    for (let response = await holder.post('/v1/jobs', { prompt: PROMPT, metadata }); ; ) {
      if (response.status === 429) {
        expect((await expectProblem(response, 429, 'quota-exceeded')).detail).toMatch(
          /records of jobs and samples take \d+ bytes, and your key allows 20000/,
        );
        break;
      }
      ids.push(String((await readOk(response, 202)).id));
      response = await holder.post('/v1/jobs', { prompt: PROMPT, metadata });
    }
    expect(ids).toHaveLength(3); // 8 KB each; the third one begins below the limit
    for (const id of ids) {
      await readOk(await holder.post(`/v1/jobs/${id}/cancel`), 200);
      expect(await removeJob(store, blobs, id, new Date().toISOString())).toBe(true);
    }
    expect(await store.redis.hget(store.keys.storedBytes(), 'teller')).toBe('0');
    const left = await store.redis.ttl(store.keys.gone(ids[0]));
    expect([left > 89 * 86_400, left <= 90 * 86_400]).toEqual([true, true]); // the note of the deletion ends
  });
});
