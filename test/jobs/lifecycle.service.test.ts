import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { act, eventNames, failJob, isQueued } from '../support/job-state.ts';
import {
  expectProblem,
  type JsonAnswer,
  queueJob,
  readOk,
  startTestApi,
  succeedJob,
  type TestApi,
} from '../support/test-api.ts';

/** No worker runs here. These tests change a job through the store as a worker would. */
let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('pause and resume', () => {
  it('removes a waiting job from its queue and puts it back; a second request changes nothing', async () => {
    const { id } = await queueJob(api);
    const paused = await readOk(await act(api, id, 'pause'), 200);
    expect(paused).toMatchObject({ status: 'paused', queuePosition: null, finishedAt: null });
    expect(await isQueued(api, id)).toBe(false);
    expect(await readOk(await act(api, id, 'pause'), 200)).toEqual(paused);
    const { data } = await readOk(await api.get('/v1/jobs?status=paused'), 200);
    expect((data as JsonAnswer[]).map((job) => job.id)).toEqual([id]);

    const resumed = await readOk(await act(api, id, 'resume'), 200);
    expect(resumed).toMatchObject({ status: 'queued', queuePosition: 1 });
    expect(await isQueued(api, id)).toBe(true);
    expect(await readOk(await act(api, id, 'resume'), 200)).toEqual(resumed);
    expect(await eventNames(api, id)).toEqual(['queued', 'paused', 'queued']);
    await readOk(await act(api, id, 'cancel'), 200);
  });

  it('requests the pause of a running job, and resume withdraws the request', async () => {
    const { id } = await queueJob(api);
    await api.store.jobs.change(id, { set: { status: 'running' } });
    const response = await act(api, id, 'pause');
    expect(await readOk(response, 202)).toMatchObject({ status: 'running' });
    expect(response.headers.get('retry-after')).toBe('1');
    expect(await api.store.jobs.get(id)).toMatchObject({ pauseRequested: true });
    await readOk(await act(api, id, 'pause'), 202);
    expect(await readOk(await act(api, id, 'resume'), 200)).toMatchObject({ status: 'running' });
    expect(await api.store.jobs.get(id)).toMatchObject({ pauseRequested: false });
  });

  it('a paused job can be canceled at once', async () => {
    const { id } = await queueJob(api);
    await readOk(await act(api, id, 'pause'), 200);
    expect(await readOk(await act(api, id, 'cancel'), 200)).toMatchObject({ status: 'canceled' });
    expect(await eventNames(api, id)).toEqual(['queued', 'paused', 'canceled', 'done']);
  });

  it('a pause answers a client that waits for a change of the job', async () => {
    const { id } = await queueJob(api);
    const held = api.get(`/v1/jobs/${id}`, { prefer: 'wait=20' });
    await new Promise((resolve) => setTimeout(resolve, 100));
    await readOk(await act(api, id, 'pause'), 200);
    expect(await readOk(await held, 200)).toMatchObject({ status: 'paused' });
  });

  it.each(['pause', 'resume', 'retry'])(
    '%s answers 409 for a job that has ended and 404 for an unknown id',
    async (action) => {
      const { id } = await queueJob(api);
      await succeedJob(api, id);
      const { detail } = await expectProblem(await act(api, id, action), 409, 'conflict');
      expect(detail).toMatch(/succeeded.*only/);
      await expectProblem(await act(api, 'job_00000000000000000000000000', action), 404, 'not-found');
    },
  );

  it.each(['pause', 'resume'])('%s answers 409 while a job is being canceled', async (action) => {
    const { id } = await queueJob(api);
    await api.store.jobs.change(id, { set: { status: 'canceling' } });
    expect((await expectProblem(await act(api, id, action), 409, 'conflict')).detail).toContain(
      'is being canceled',
    );
  });
});

describe('retry', () => {
  it('queues a failed job with its checkpoint and removes its done event', async () => {
    const { id } = await queueJob(api);
    await failJob(api, id);
    const response = await act(api, id, 'retry');
    expect(await readOk(response, 202)).toMatchObject({
      id,
      status: 'queued',
      error: null,
      finishedAt: null,
    });
    expect(response.headers.get('location')).toBe(`/v1/jobs/${id}`);
    expect(await api.store.jobs.get(id)).toMatchObject({ checkpoint: { iteration: 3 } });
    expect(await isQueued(api, id)).toBe(true);
    expect(await eventNames(api, id)).toEqual(['queued', 'failed', 'queued']);
    await expectProblem(await act(api, id, 'retry'), 409, 'conflict');
  });

  it('answers 409 once the deadline has passed', async () => {
    const { id } = await queueJob(api, { deadline: 1 });
    await failJob(api, id);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect((await expectProblem(await act(api, id, 'retry'), 409, 'conflict')).detail).toMatch(
      /deadline.*has passed/,
    );
  });
});
