import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventNames } from '../support/job-state.ts';
import {
  expectProblem,
  expectProblemText,
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

describe('PUT /v1/jobs/{id}', () => {
  const put = (id: string, body: object) =>
    fetch(`${api.url}/v1/jobs/${id}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });

  it('queues a job under the client’s id; the same body again returns the same job', async () => {
    const id = 'job_01k0000000000000000000000a';
    const response = await put(id, { prompt: PROMPT, seed: 1, samples: 0 });
    const job = await readOk(response, 202);
    expect(job).toMatchObject({ id, status: 'queued', seed: 1 });
    expect(response.headers.get('location')).toBe(`/v1/jobs/${id}`);
    expect(await readOk(await put(id, { samples: 0, seed: 1, prompt: PROMPT }), 202)).toEqual(job);
    expect(await eventNames(api, id)).toEqual(['queued']);
  });

  it('answers 422 for another body, also for concurrent requests', async () => {
    const id = 'job_01k0000000000000000000000b';
    const answers = await Promise.all([1, 2, 3, 4].map((seed) => put(id, { prompt: PROMPT, seed })));
    expect(answers.map(({ status }) => status).sort()).toEqual([202, 422, 422, 422]);
    const { detail } = await expectProblem(
      await put(id, { prompt: 'a red cat' }),
      422,
      'idempotency-mismatch',
    );
    expect(detail).toMatch(new RegExp(`${id}.*new id`));
    expect(await eventNames(api, id)).toEqual(['queued']);
  });

  it.each([
    'job_1',
    'pol_01k0000000000000000000000a',
    'job_01K0000000000000000000000A',
    'job_81k0000000000000000000000a',
    'job_01k0000000000000000000000u',
  ])('answers 400 for the id %s', async (id) => {
    const problem = await expectProblem(await put(id, { prompt: PROMPT }), 400, 'bad-request');
    expectProblemText(problem, ['/id', /job_ and 26 characters/]);
  });

  it('writes no record when the request is refused', async () => {
    const id = 'job_01k0000000000000000000000c';
    await expectProblem(await put(id, { prompt: PROMPT, model: 'x' }), 422, 'unknown-model');
    await expectProblem(await api.get(`/v1/jobs/${id}`), 404, 'not-found');
  });
});

describe('an Idempotency-Key', () => {
  it('creates one job for fifty concurrent requests, and answers 422 for another body', async () => {
    const headers = { 'idempotency-key': 'fifty' };
    const jobs = await Promise.all(Array.from({ length: 50 }, () => queueJob(api, {}, headers)));
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(1);
    expect(await eventNames(api, jobs[0].id)).toEqual(['queued']);
    const mixed = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        api.post('/v1/jobs', { prompt: i % 2 ? PROMPT : 'a red cat' }, headers),
      ),
    );
    expect(mixed.map(({ status }) => status).sort()).toEqual([
      ...Array(10).fill(202),
      ...Array(10).fill(422),
    ]);
  });
});
