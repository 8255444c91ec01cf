import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { submitJob } from '../../src/jobs/submit.ts';
import { BEGINNING, readEvents } from '../../src/records/events.ts';
import { scopeStore } from '../../src/store/store.ts';
import { NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import {
  expectProblem,
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

describe('POST /v1/jobs', () => {
  it('answers 202 with the place of the job, when to look again, and every value that will be used', async () => {
    const response = await api.post('/v1/jobs', { prompt: PROMPT });
    const job = await readOk(response, 202);
    expect(job.id).toMatch(/^job_[0-9a-z]{26}$/);
    expect(response.headers.get('location')).toBe(`/v1/jobs/${job.id}`);
    expect(response.headers.get('retry-after')).toBe('1');
    expect(response.headers.get('content-type')).toMatch(/^application\/json/);
    expect(job).toMatchObject({
      object: 'job',
      status: 'queued',
      startedAt: null,
      finishedAt: null,
      prompt: PROMPT,
      negativePrompt: '',
      preset: 'fast',
      model: 'stickers',
      reward: 'stickers-reward',
      optimizer: { name: 'gp' },
      budget: { images: 150, seconds: null, targetReward: null, patience: null },
      sampler: {
        scheduler: 'dpmsolver++',
        steps: 12,
        guidanceScale: 4,
        eta: 0,
        clipSkip: 0,
        width: 64,
        height: 64,
      },
      seed: expect.any(Number),
      samples: 0,
      reportDraws: 32,
      priority: 'normal',
      metadata: {},
      progress: { stage: 'waiting', iteration: 0, images: 0, of: 150, fraction: 0 },
      policyId: null,
      error: null,
      warnings: [],
      attempts: 0,
      requestId: response.headers.get('x-request-id'),
      urls: { self: `/v1/jobs/${job.id}`, events: `/v1/jobs/${job.id}/events` },
    });
    expect(Math.abs(Date.parse(String(job.createdAt)) - Date.now())).toBeLessThan(10_000);
    for (const inner of ['cancelRequested', 'keepPartial', 'checkpoint', 'takenAt'])
      expect(job).not.toHaveProperty(inner);
    expect(await readOk(await api.get(`/v1/jobs/${job.id}`), 200)).toEqual(job);
  });

  it('echoes every parameter of the optimizer, the defaults too', async () => {
    const { data } = (await readOk(await api.get('/v1/optimizers'), 200)) as {
      data: { name: string; parameters: Record<string, { default: unknown }> }[];
    };
    for (const { name, parameters } of data) {
      const { optimizer } = await queueJob(api, { optimizer: { name } });
      const defaults = Object.entries(parameters).map(([parameter, { default: value }]) => [
        parameter,
        value,
      ]);
      expect(optimizer).toEqual({ name, ...Object.fromEntries(defaults) });
    }
  });

  it('keeps what was asked for, over the preset', async () => {
    const asked = {
      negativePrompt: 'blurry',
      preset: 'paper',
      budget: { images: 7, seconds: 60.5, targetReward: 0.9, patience: 5 },
      sampler: { steps: 3, eta: 1 },
      seed: Number.MAX_SAFE_INTEGER,
      samples: 64,
      priority: 'high',
      metadata: { team: 'a', 'x.y-z_1': '' },
    };
    expect(await queueJob(api, asked)).toMatchObject({
      ...asked,
      optimizer: { name: 'find' },
      sampler: {
        scheduler: 'ddim',
        steps: 3,
        guidanceScale: 7.5,
        eta: 1,
        clipSkip: 0,
        width: 64,
        height: 64,
      },
    });
  });

  it.each([
    ['a name', 'jpeg-size', 'jpeg-size'],
    ['one that counts once', [{ name: 'jpeg-size' }], 'jpeg-size'],
    ['one that counts less', [{ name: 'jpeg-size', weight: -2 }], [{ name: 'jpeg-size', weight: -2 }]],
    [
      'two',
      [{ name: 'jpeg-size', weight: 0.1 }, { name: 'stickers-reward' }],
      [
        { name: 'jpeg-size', weight: 0.1 },
        { name: 'stickers-reward', weight: 1 },
      ],
    ],
  ])(
    'tells the reward in the shorter of its forms, wherever the job is told of: %s',
    async (_, reward, told) => {
      const job = await queueJob(api, { reward });
      expect(job.reward).toEqual(told);
      expect((await readOk(await api.get(`/v1/jobs/${job.id}`), 200)).reward).toEqual(told);
      const { data } = (await readOk(await api.get('/v1/jobs?limit=1'), 200)) as unknown as {
        data: unknown[];
      };
      expect(data).toMatchObject([{ id: job.id, reward: told }]);
      expect((await readOk(await api.post('/v1/samples', { prompt: PROMPT, reward }), 202)).reward).toEqual(
        told,
      );
    },
  );

  it('takes prompts of any script, 2,000 characters of them, and warns of what the model does not read', async () => {
    const emoji = '🐕‍🦺 на траве, 草の上の緑の犬';
    expect((await queueJob(api, { prompt: emoji })).prompt).toBe(emoji);
    const long = '🐕'.repeat(2000);
    expect((await queueJob(api, { prompt: long })).prompt).toBe(long);
    const { warnings } = await queueJob(api, { prompt: 'a green dog on the grass, '.repeat(20) });
    expect(warnings?.map(({ code }) => code)).toContain('prompt-cut');
    expect(warnings?.[0].message).toMatch(
      /stickers reads the first \d+ tokens of the prompt; this is cut off: "/,
    );
  });

  it('counts the queue, and serves a higher priority first', async () => {
    const own = await startTestApi();
    onTestFinished(() => own.close());
    const ids: string[] = [];
    for (const priority of ['low', 'normal', 'normal', 'high']) {
      const { id } = await readOk(await own.post('/v1/jobs', { prompt: PROMPT, priority }), 202);
      ids.push(String(id));
    }
    const positions = ids.map(
      async (id) => (await readOk(await own.get(`/v1/jobs/${id}`), 200)).queuePosition,
    );
    expect(await Promise.all(positions)).toEqual([4, 2, 3, 1]);
    const nothing = { waiting: 0, active: 0 };
    const queues = { object: 'queues', optimize: { waiting: 4, active: 0 }, sample: nothing, unfinished: 4 };
    expect(await readOk(await own.get('/v1/queues'), 200)).toEqual(queues);
  });

  it('hands a request id on, into the answer and the job', async () => {
    const response = await api.post('/v1/jobs', { prompt: PROMPT }, { 'x-request-id': 'my-app.7_1' });
    expect(response.headers.get('x-request-id')).toBe('my-app.7_1');
    expect((await readOk(response, 202)).requestId).toBe('my-app.7_1');
    const problem = await expectProblem(
      await api.get('/nothing', { 'x-request-id': 'other' }),
      404,
      'not-found',
    );
    expect(problem.requestId).toBe('other');
  });
});

describe('Idempotency-Key', () => {
  const count = async () => (await api.store.jobs.list({ limit: Number.POSITIVE_INFINITY })).data.length;

  it('gives the same job for the same body, however its fields are ordered', async () => {
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

  it('refuses another body under the same key, and names the job', async () => {
    const headers = { 'idempotency-key': 'order 67' };
    const { id } = await queueJob(api, {}, headers);
    const before = await count();
    const response = await api.post('/v1/jobs', { prompt: 'a red cat' }, headers);
    const { detail } = await expectProblem(response, 422, 'idempotency-mismatch');
    expect(detail).toMatch(new RegExp(`"order 67".*${id}.*new key`));
    expect(await count()).toBe(before);
  });

  it('makes one job of ten requests at once, written once', async () => {
    const headers = { 'idempotency-key': 'order 68' };
    const before = await count();
    const jobs = await Promise.all(Array.from({ length: 10 }, () => queueJob(api, {}, headers)));
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(1);
    expect(new Set(jobs.map(({ seed, requestId }) => `${seed} ${requestId}`)).size).toBe(1);
    expect(await count()).toBe(before + 1);
    expect(await readEvents(api.store.redis, api.store.keys, jobs[0].id, BEGINNING)).toHaveLength(1);
  });

  it('lets the first one stand where two APIs accept one key between each other’s steps', async () => {
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

  it('does not hold the key of a request that was refused', async () => {
    const headers = { 'idempotency-key': 'order 69' };
    await expectProblem(
      await api.post('/v1/jobs', { prompt: PROMPT, model: 'x' }, headers),
      422,
      'unknown-model',
    );
    await queueJob(api, {}, headers);
  });

  it('refuses keys that are none', async () => {
    const response = await api.post('/v1/jobs', { prompt: PROMPT }, { 'idempotency-key': 'k'.repeat(256) });
    const { errors } = await expectProblem(response, 400, 'bad-request');
    expect(errors?.[0]).toMatchObject({
      pointer: '/idempotency-key',
      message: expect.stringContaining('256 characters'),
    });
  });
});

describe('GET /v1/jobs', () => {
  const ids: string[] = [];
  beforeAll(async () => {
    for (let i = 0; i < 5; i++) {
      const { id } = await queueJob(api, { metadata: { list: 'pages', parity: i % 2 ? 'odd' : 'even' } });
      ids.unshift(id);
    }
    await succeedJob(api, ids[2]);
  });

  const list = async (query: string) =>
    (await readOk(await api.get(`/v1/jobs?metadata.list=pages&${query}`), 200)) as unknown as {
      data: { id: string }[];
      hasMore: boolean;
      nextAfter: string | null;
    };

  it('pages, newest first', async () => {
    const seen: string[][] = [];
    let query = 'limit=2';
    for (;;) {
      const { data, hasMore, nextAfter } = await list(query);
      seen.push(data.map(({ id }) => id));
      expect(nextAfter).toBe(hasMore ? data.at(-1)?.id : null);
      if (!hasMore) break;
      query = `limit=2&after=${nextAfter}`;
    }
    expect(seen).toEqual([ids.slice(0, 2), ids.slice(2, 4), ids.slice(4)]);
  });

  it('has no more after a last page that is full', async () => {
    expect(await list('limit=5')).toMatchObject({ hasMore: false, nextAfter: null });
  });

  it('goes on from an id that is no job of this list', async () => {
    const oldest = 'job_00000000000000000000000000';
    expect(await list(`after=${oldest}`)).toEqual({ data: [], hasMore: false, nextAfter: null });
    expect((await list('after=job_zzzzzzzzzzzzzzzzzzzzzzzzzz')).data).toHaveLength(5);
  });

  it('passes over so many that a filter leaves out, and then says where to go on', async () => {
    const oldest = ids[4];
    const pages: { data: { id: string }[]; hasMore: boolean; nextAfter: string | null }[] = [];
    for (let after: string | undefined; pages.length < 100; after = pages.at(-1)?.nextAfter ?? undefined) {
      pages.push(
        await api.store.jobs.list({ limit: 1, after, accept: ({ id }) => id === oldest, mostPassed: 1 }),
      );
      if (!pages.at(-1)?.hasMore) break;
    }
    expect(pages.flatMap(({ data }) => data.map(({ id }) => id))).toEqual([oldest]);
    expect(pages[0]).toEqual({ data: [], hasMore: true, nextAfter: ids[1] });
    expect(pages.at(-1)).toMatchObject({ hasMore: false, nextAfter: null });
  });

  it('filters by status, model and metadata', async () => {
    expect((await list('status=succeeded')).data.map(({ id }) => id)).toEqual([ids[2]]);
    expect((await list('status=queued')).data).toHaveLength(4);
    expect((await list('model=stickers')).data).toHaveLength(5);
    expect((await list('model=other')).data).toEqual([]);
    expect((await list('metadata.parity=odd')).data.map(({ id }) => id)).toEqual([ids[1], ids[3]]);
    expect((await list('metadata.parity=odd&limit=1')).hasMore).toBe(true);
    expect((await list('metadata.parity=none')).data).toEqual([]);
    expect((await list('metadata.constructor=x')).data).toEqual([]);
  });
});

describe('POST /v1/jobs/{id}/cancel', () => {
  it('cancels a waiting job at once; a second time changes nothing', async () => {
    const { id } = await queueJob(api);
    const canceled = await readOk(await api.post(`/v1/jobs/${id}/cancel`), 200);
    expect(canceled).toMatchObject({ status: 'canceled', progress: { stage: 'ended' }, queuePosition: null });
    expect(canceled.finishedAt).toMatch(/Z$/);
    expect(await api.store.queues.has('optimize', id)).toBe(false);
    expect(await readOk(await api.post(`/v1/jobs/${id}/cancel`, {}), 200)).toEqual(canceled);
  });

  it('asks a running job to stop, keeps what is to be kept, and tells the workers', async () => {
    const { id } = await queueJob(api);
    await api.store.jobs.change(id, { set: { status: 'running' } });
    const heard = new Promise((resolve) => {
      const subscriber = api.store.redis.duplicate();
      onTestFinished(() => subscriber.disconnect());
      subscriber.on('message', (_channel: string, message: string) => resolve(message));
      void subscriber.subscribe(api.store.keys.cancels()).then(async () => {
        const response = await api.post(`/v1/jobs/${id}/cancel`, { keepPartial: true });
        expect(await readOk(response, 202)).toMatchObject({ status: 'canceling' });
        expect(response.headers.get('retry-after')).toBe('1');
      });
    });
    expect(await heard).toBe(id);
    expect(await api.store.jobs.get(id)).toMatchObject({ cancelRequested: true, keepPartial: true });
    expect(await readOk(await api.post(`/v1/jobs/${id}/cancel`), 202)).toMatchObject({ status: 'canceling' });
    expect(await api.store.jobs.get(id)).toMatchObject({ keepPartial: true });
  });

  it('409 for a job that has ended', async () => {
    const { id } = await queueJob(api);
    await succeedJob(api, id);
    const { detail } = await expectProblem(await api.post(`/v1/jobs/${id}/cancel`), 409, 'conflict');
    expect(detail).toContain(`The job ${id} has succeeded already`);
    expect((await api.store.jobs.get(id)).status).toBe('succeeded');
  });
});
