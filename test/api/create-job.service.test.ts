import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import {
  expectProblem,
  type JsonAnswer,
  PROMPT,
  queueJob,
  readOk,
  startTestApi,
  type TestApi,
} from '../support/test-api.ts';

/** No worker runs here; the tests change records as a worker would. */
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('POST /v1/jobs', () => {
  it('answers 202 with Location, Retry-After and every value that the job will use', async () => {
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
      parallelism: 1,
      priority: 'normal',
      metadata: {},
      progress: { stage: 'waiting', iteration: 0, images: 0, of: 150, fraction: 0, workers: 0 },
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

  it('returns every parameter of the optimizer, including defaults', async () => {
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

  it('prefers values of the request to those of the preset', async () => {
    const asked = {
      negativePrompt: 'blurry',
      preset: 'paper',
      budget: { images: 7, seconds: 60.5, targetReward: 0.9, patience: 5 },
      sampler: { steps: 3, eta: 1 },
      seed: Number.MAX_SAFE_INTEGER,
      samples: 64,
      parallelism: 64,
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
    ['a list of one with weight 1', [{ name: 'jpeg-size' }], 'jpeg-size'],
    [
      'a list of one with another weight',
      [{ name: 'jpeg-size', weight: -2 }],
      [{ name: 'jpeg-size', weight: -2 }],
    ],
    [
      'a list of two',
      [{ name: 'jpeg-size', weight: 0.1 }, { name: 'stickers-reward' }],
      [
        { name: 'jpeg-size', weight: 0.1 },
        { name: 'stickers-reward', weight: 1 },
      ],
    ],
  ])('returns the reward in its shorter form in every view: %s', async (_, reward, shortest) => {
    const job = await queueJob(api, { reward });
    expect(job.reward).toEqual(shortest);
    expect((await readOk(await api.get(`/v1/jobs/${job.id}`), 200)).reward).toEqual(shortest);
    const { data } = (await readOk(await api.get('/v1/jobs?limit=1'), 200)) as JsonAnswer & {
      data: unknown[];
    };
    expect(data).toMatchObject([{ id: job.id, reward: shortest }]);
    expect((await readOk(await api.post('/v1/samples', { prompt: PROMPT, reward }), 202)).reward).toEqual(
      shortest,
    );
  });

  it('accepts 2,000 characters of any script, and warns when the model cuts the prompt', async () => {
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

  it.each(['a red book\nand a yellow vase', 'a red book\r\nand\ta yellow vase\n'])(
    'accepts the prompt %j of a text box unchanged',
    async (prompt) => {
      expect(await queueJob(api, { prompt, negativePrompt: prompt })).toMatchObject({
        prompt,
        negativePrompt: prompt,
      });
    },
  );

  it('chooses a seed where the request has null', async () => {
    const job = await queueJob(api, { seed: null });
    expect(Number.isSafeInteger(job.seed)).toBe(true);
    const sample = await readOk(await api.post('/v1/samples', { prompt: PROMPT, seed: null }), 202);
    expect(Number.isSafeInteger(sample.seed)).toBe(true);
  });

  it('places jobs of higher priority first in the queue', async () => {
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

  it('returns the request id and stores it in the job', async () => {
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
