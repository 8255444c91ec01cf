import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { expireOverdue } from '../../src/jobs/expire.ts';
import { requeuePending } from '../../src/jobs/requeue.ts';
import { BEGINNING, readEvents } from '../../src/records/events.ts';
import {
  type Answer,
  expectProblem,
  expectWords,
  PROMPT,
  queueJob,
  readOk,
  startTestApi,
  succeedJob,
  type TestApi,
} from '../support/service.ts';

/** No worker runs here: what a worker does to a job, these tests do through the store. */
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

const act = (id: string, action: string) => api.post(`/v1/jobs/${id}/${action}`);
const events = async (id: string) =>
  (await readEvents(api.store.redis, api.store.keys, id, BEGINNING)).map(({ type, data }) =>
    type === 'status' ? (JSON.parse(data) as { status: string }).status : type,
  );
const isQueued = (id: string) => api.store.queues.has('optimize', id);
const unqueued = async (id: string) => (await api.store.redis.zscore(api.store.keys.unqueued(), id)) !== null;

/** Ends a job as a worker does whose try at it failed, with a checkpoint. */
async function failJob(id: string): Promise<void> {
  await api.store.queues.remove('optimize', id);
  const error = { type: '/problems/internal', title: '', status: 500, detail: '', code: 'internal' };
  const checkpoint = { key: `checkpoints/${id}-3-x.safetensors`, iteration: 3 };
  await api.store.jobs.change(id, {
    set: { status: 'failed', error, checkpoint, finishedAt: new Date().toISOString() },
    events: [
      { type: 'status', data: { status: 'failed', stage: 'ended' } },
      { type: 'done', data: { status: 'failed' } },
    ],
  });
}

describe('pause and resume', () => {
  it('takes a waiting job out of its queue at once, and back; again changes nothing', async () => {
    const { id } = await queueJob(api);
    const paused = await readOk(await act(id, 'pause'), 200);
    expect(paused).toMatchObject({ status: 'paused', queuePosition: null, finishedAt: null });
    expect(await isQueued(id)).toBe(false);
    expect(await readOk(await act(id, 'pause'), 200)).toEqual(paused);
    const listed = (await readOk(await api.get('/v1/jobs?status=paused'), 200)) as unknown as {
      data: Answer[];
    };
    expect(listed.data.map((job) => job.id)).toEqual([id]);

    const resumed = await readOk(await act(id, 'resume'), 200);
    expect(resumed).toMatchObject({ status: 'queued', queuePosition: 1 });
    expect(await isQueued(id)).toBe(true);
    expect(await readOk(await act(id, 'resume'), 200)).toEqual(resumed);
    expect(await events(id)).toEqual(['queued', 'paused', 'queued']);
    await readOk(await act(id, 'cancel'), 200);
  });

  it('asks the worker of a running job, and takes that back', async () => {
    const { id } = await queueJob(api);
    await api.store.jobs.change(id, { set: { status: 'running' } });
    const response = await act(id, 'pause');
    expect(await readOk(response, 202)).toMatchObject({ status: 'running' });
    expect(response.headers.get('retry-after')).toBe('1');
    expect(await api.store.jobs.get(id)).toMatchObject({ pauseRequested: true });
    await readOk(await act(id, 'pause'), 202);
    expect(await readOk(await act(id, 'resume'), 200)).toMatchObject({ status: 'running' });
    expect(await api.store.jobs.get(id)).toMatchObject({ pauseRequested: false });
  });

  it('cancels a paused job at once', async () => {
    const { id } = await queueJob(api);
    await readOk(await act(id, 'pause'), 200);
    expect(await readOk(await act(id, 'cancel'), 200)).toMatchObject({ status: 'canceled' });
    expect(await events(id)).toEqual(['queued', 'paused', 'canceled', 'done']);
  });

  it('wakes who waits for a change of the job', async () => {
    const { id } = await queueJob(api);
    const held = api.get(`/v1/jobs/${id}`, { prefer: 'wait=20' });
    await new Promise((resolve) => setTimeout(resolve, 100));
    await readOk(await act(id, 'pause'), 200);
    expect(await readOk(await held, 200)).toMatchObject({ status: 'paused' });
  });

  it.each(['pause', 'resume', 'retry'])(
    '409 for %s of a job that has ended, 404 for one that never was',
    async (action) => {
      const { id } = await queueJob(api);
      await succeedJob(api, id);
      const { detail } = await expectProblem(await act(id, action), 409, 'conflict');
      expect(detail).toMatch(/succeeded.*only/);
      await expectProblem(await act('job_00000000000000000000000000', action), 404, 'not-found');
    },
  );

  it.each(['pause', 'resume'])('409 for %s of a job that is being canceled', async (action) => {
    const { id } = await queueJob(api);
    await api.store.jobs.change(id, { set: { status: 'canceling' } });
    expect((await expectProblem(await act(id, action), 409, 'conflict')).detail).toContain(
      'is being canceled',
    );
  });

  it('queues it also when its last entry is still in a worker’s hands', async () => {
    const { id } = await queueJob(api);
    await readOk(await act(id, 'pause'), 200);
    // An entry that is neither waiting nor gone: adding it again changes nothing.
    await api.store.redis.hset(`${api.store.keys.queues()}:optimize:${id}`, 'data', '{}');
    await readOk(await act(id, 'resume'), 200);
    expect(await unqueued(id)).toBe(true);
    await api.store.redis.del(`${api.store.keys.queues()}:optimize:${id}`);
    await requeuePending(api.store, 0);
    expect(await api.store.queues.waits('optimize', id)).toBe(true);
    expect(await unqueued(id)).toBe(false);
  });
});

describe('retry', () => {
  it('queues a failed job with its checkpoint, and takes back that it had ended', async () => {
    const { id } = await queueJob(api);
    await failJob(id);
    const response = await act(id, 'retry');
    expect(await readOk(response, 202)).toMatchObject({
      id,
      status: 'queued',
      error: null,
      finishedAt: null,
    });
    expect(response.headers.get('location')).toBe(`/v1/jobs/${id}`);
    expect(await api.store.jobs.get(id)).toMatchObject({ checkpoint: { iteration: 3 } });
    expect(await isQueued(id)).toBe(true);
    expect(await events(id)).toEqual(['queued', 'failed', 'queued']);
    await expectProblem(await act(id, 'retry'), 409, 'conflict');
  });

  it('409 once its deadline has passed', async () => {
    const { id } = await queueJob(api, { deadline: 1 });
    await failJob(id);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect((await expectProblem(await act(id, 'retry'), 409, 'conflict')).detail).toMatch(
      /deadline.*has passed/,
    );
  });
});

describe('deadline', () => {
  it('is told as a time in UTC', async () => {
    const [day] = new Date(Date.now() + 7 * 86_400_000).toISOString().split('T');
    expect((await queueJob(api, { deadline: `${day}T12:00:00+02:00` })).deadline).toBe(
      `${day}T10:00:00.000Z`,
    );
    const { deadline } = await queueJob(api, { deadline: 3600 });
    expect(deadline).toMatch(/Z$/);
    expect(Math.abs(Date.parse(String(deadline)) - Date.now() - 3_600_000)).toBeLessThan(10_000);
  });

  it('is null where none was given', async () => {
    expect((await queueJob(api)).deadline).toBeNull();
  });

  it.each([
    ['2020-01-01T00:00:00Z', 422, 'not-possible', /no time to come/],
    ['2999-01-01T00:00:00Z', 422, 'not-possible', /more than a year/],
    ['tomorrow', 400, 'bad-request', /"tomorrow"; takes a time such as/],
    [0, 400, 'bad-request', /more than 0/],
    [1e9, 400, 'bad-request', /31536000/],
    [null, 400, 'bad-request', /takes a time/],
  ] as const)('%s is refused', async (deadline, status, code, words) => {
    const problem = await expectProblem(
      await api.post('/v1/jobs', { prompt: PROMPT, deadline }),
      status,
      code,
    );
    expectWords(problem, ['/deadline', words]);
  });

  it.each(['queued', 'paused'])('ends a job that is %s and has learnt nothing', async (status) => {
    const { id } = await queueJob(api, { deadline: 60 });
    if (status === 'paused') await readOk(await act(id, 'pause'), 200);
    await expireOverdue(api.store, api.blobs, Date.now());
    expect(await api.store.jobs.get(id)).toMatchObject({ status });
    await expireOverdue(api.store, api.blobs, Date.now() + 61_000);
    expect(await readOk(await api.get(`/v1/jobs/${id}`), 200)).toMatchObject({
      status: 'expired',
      policyId: null,
    });
    expect(await isQueued(id)).toBe(false);
    expect((await events(id)).slice(-2)).toEqual(['expired', 'done']);
    expect((await expectProblem(await act(id, 'cancel'), 409, 'conflict')).detail).toContain('expired');
  });

  it('passes while nobody asks', async () => {
    const { id } = await queueJob(api, { deadline: 0.2 });
    const response = await api.get(`/v1/jobs/${id}`, { prefer: 'wait=20' });
    expect(await readOk(response, 200)).toMatchObject({ status: 'expired' });
  });

  it('leaves a paused job that has learnt something to a worker', async () => {
    const { id } = await queueJob(api, { deadline: 60 });
    await readOk(await act(id, 'pause'), 200);
    await api.store.jobs.change(id, { set: { checkpoint: { key: 'checkpoints/x', iteration: 1 } } });
    await expireOverdue(api.store, api.blobs, Date.now() + 61_000);
    expect(await api.store.jobs.get(id)).toMatchObject({ status: 'queued' });
    expect(await isQueued(id)).toBe(true);
  });
});

describe('PUT /v1/jobs/{id}', () => {
  const put = (id: string, body: object) =>
    fetch(`${api.url}/v1/jobs/${id}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });

  it('queues a job under the client’s id; the same body again gives the same job', async () => {
    const id = 'job_01k0000000000000000000000a';
    const response = await put(id, { prompt: PROMPT, seed: 1, samples: 0 });
    const job = await readOk(response, 202);
    expect(job).toMatchObject({ id, status: 'queued', seed: 1 });
    expect(response.headers.get('location')).toBe(`/v1/jobs/${id}`);
    expect(await readOk(await put(id, { samples: 0, seed: 1, prompt: PROMPT }), 202)).toEqual(job);
    expect(await events(id)).toEqual(['queued']);
  });

  it('422 for another body, also of two at once', async () => {
    const id = 'job_01k0000000000000000000000b';
    const answers = await Promise.all([1, 2, 3, 4].map((seed) => put(id, { prompt: PROMPT, seed })));
    expect(answers.map(({ status }) => status).sort()).toEqual([202, 422, 422, 422]);
    const { detail } = await expectProblem(
      await put(id, { prompt: 'a red cat' }),
      422,
      'idempotency-mismatch',
    );
    expect(detail).toMatch(new RegExp(`${id}.*new id`));
    expect(await events(id)).toEqual(['queued']);
  });

  it.each(['job_1', 'pol_01k0000000000000000000000a', 'job_01K0000000000000000000000A'])(
    '400 for the id %s',
    async (id) => {
      const problem = await expectProblem(await put(id, { prompt: PROMPT }), 400, 'bad-request');
      expectWords(problem, ['/id', /job_ and 26 characters/]);
    },
  );

  it('leaves nothing behind when it is refused', async () => {
    const id = 'job_01k0000000000000000000000c';
    await expectProblem(await put(id, { prompt: PROMPT, model: 'x' }), 422, 'unknown-model');
    await expectProblem(await api.get(`/v1/jobs/${id}`), 404, 'not-found');
  });
});

describe('accepting', () => {
  it('makes one job of fifty requests at once with one key, and 422 of another body', async () => {
    const headers = { 'idempotency-key': 'fifty' };
    const jobs = await Promise.all(Array.from({ length: 50 }, () => queueJob(api, {}, headers)));
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(1);
    expect(await events(jobs[0].id)).toEqual(['queued']);
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

  it('queues what a crash left written but not queued, without a restart and without looking at all that waits', async () => {
    const { id } = await queueJob(api);
    await api.store.queues.remove('optimize', id);
    await api.store.redis.zadd(api.store.keys.unqueued(), 0, id);
    await expect.poll(() => isQueued(id), { timeout: 10_000 }).toBe(true);
    await expect.poll(() => unqueued(id)).toBe(false);
  });

  it('forgets what is no longer to be queued', async () => {
    const { id } = await queueJob(api);
    await readOk(await act(id, 'cancel'), 200);
    await api.store.redis.zadd(api.store.keys.unqueued(), 0, id);
    await requeuePending(api.store, 0);
    expect(await isQueued(id)).toBe(false);
    expect(await unqueued(id)).toBe(false);
  });

  it('does a change that a connection sends twice once', async () => {
    const { id } = await queueJob(api);
    const redis = api.store.redis as unknown as Record<string, (...parameters: string[]) => Promise<string>>;
    const command = 'findery:commit';
    const commit = redis[command];
    redis[command] = async (...parameters) => {
      await commit.apply(redis, parameters);
      return commit.apply(redis, parameters);
    };
    onTestFinished(() => {
      redis[command] = commit;
    });
    const status = (name: string) => [{ type: 'status', data: { status: name } }];
    const start = { set: { status: 'running' as const }, events: status('running'), newOwner: 'a' };
    expect(await api.store.jobs.change(id, start)).toBe('done');
    const end = {
      set: { status: 'succeeded' as const },
      events: status('succeeded'),
      owner: 'a',
      statuses: ['running'],
    };
    expect(await api.store.jobs.change(id, end)).toBe('done');
    expect(await events(id)).toEqual(['queued', 'running', 'succeeded']);
  });
});
