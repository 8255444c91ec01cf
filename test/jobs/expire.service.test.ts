import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expireOverdue } from '../../src/jobs/expire.ts';
import { act, eventNames, isQueued } from '../support/job-state.ts';
import {
  expectProblem,
  expectProblemText,
  PROMPT,
  queueJob,
  readOk,
  startTestApi,
  type TestApi,
} from '../support/test-api.ts';

/** No worker runs here. These tests change a job through the store as a worker would. */
let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('a deadline', () => {
  it('is shown as a time in UTC', async () => {
    const [day] = new Date(Date.now() + 7 * 86_400_000).toISOString().split('T');
    expect((await queueJob(api, { deadline: `${day}T12:00:00+02:00` })).deadline).toBe(
      `${day}T10:00:00.000Z`,
    );
    const { deadline } = await queueJob(api, { deadline: 3600 });
    expect(deadline).toMatch(/Z$/);
    expect(Math.abs(Date.parse(String(deadline)) - Date.now() - 3_600_000)).toBeLessThan(10_000);
  });

  it('is null if the request has none', async () => {
    expect((await queueJob(api)).deadline).toBeNull();
  });

  it.each([
    ['2020-01-01T00:00:00Z', 422, 'not-possible', /not in the future/],
    ['2999-01-01T00:00:00Z', 422, 'not-possible', /more than a year/],
    ['tomorrow', 400, 'bad-request', /"tomorrow"; takes a time such as/],
    [0, 400, 'bad-request', /more than 0/],
    [1e9, 400, 'bad-request', /31536000/],
    [null, 400, 'bad-request', /takes a time/],
  ] as const)('is refused if it is %s', async (deadline, status, code, words) => {
    const problem = await expectProblem(
      await api.post('/v1/jobs', { prompt: PROMPT, deadline }),
      status,
      code,
    );
    expectProblemText(problem, ['/deadline', words]);
  });

  it.each(['queued', 'paused'])('ends a %s job without a checkpoint', async (status) => {
    const { id } = await queueJob(api, { deadline: 60 });
    if (status === 'paused') await readOk(await act(api, id, 'pause'), 200);
    await expireOverdue(api.store, api.blobs, Date.now());
    expect(await api.store.jobs.get(id)).toMatchObject({ status });
    await expireOverdue(api.store, api.blobs, Date.now() + 61_000);
    expect(await readOk(await api.get(`/v1/jobs/${id}`), 200)).toMatchObject({
      status: 'expired',
      policyId: null,
    });
    expect(await isQueued(api, id)).toBe(false);
    expect((await eventNames(api, id)).slice(-2)).toEqual(['expired', 'done']);
    expect((await expectProblem(await act(api, id, 'cancel'), 409, 'conflict')).detail).toContain('expired');
  });

  it('ends the job without a request of a client', async () => {
    const { id } = await queueJob(api, { deadline: 0.2 });
    const response = await api.get(`/v1/jobs/${id}`, { prefer: 'wait=20' });
    expect(await readOk(response, 200)).toMatchObject({ status: 'expired' });
  });

  it('queues a paused job with a checkpoint, so that a worker stores its policy', async () => {
    const { id } = await queueJob(api, { deadline: 60 });
    await readOk(await act(api, id, 'pause'), 200);
    await api.store.jobs.change(id, { set: { checkpoint: { key: 'checkpoints/x', iteration: 1 } } });
    await expireOverdue(api.store, api.blobs, Date.now() + 61_000);
    expect(await api.store.jobs.get(id)).toMatchObject({ status: 'queued' });
    expect(await isQueued(api, id)).toBe(true);
  });
});
