import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Problem } from '../../src/contract/schemas/common.ts';
import { requeueOrphans } from '../../src/jobs/requeue.ts';
import { announceWorker, dismissWorker } from '../../src/store/worker-registry.ts';
import {
  expectProblem,
  PROMPT,
  queueJob,
  readOk,
  startTestApi,
  succeedJob,
  type TestApi,
} from '../support/service.ts';

let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('the service', () => {
  it('/healthz lives without a worker; /readyz names what is missing', async () => {
    expect(await readOk(await api.get('/healthz'), 200)).toEqual({ status: 'ok' });
    const response = await api.get('/readyz');
    expect(response.headers.get('retry-after')).toBe('2');
    expect((await expectProblem(response, 503, 'unavailable')).detail).toMatch(
      /no worker is alive \(npm run worker\)/,
    );
  });

  it('/readyz and /v1/workers see a worker that lives', async () => {
    const { redis, keys } = api.store;
    const now = new Date().toISOString();
    await announceWorker(redis, keys, {
      object: 'worker',
      id: 'w1',
      host: 'here',
      pid: 1,
      version: '0',
      startedAt: now,
      seenAt: now,
      device: 'cpu',
      executionProviders: ['cpu'],
      passedOver: [],
      threads: 1,
      batchSize: 1,
      reducedBatches: [],
      memoryBytes: 1,
      loaded: ['stickers'],
      currentJobs: [],
      imagesPerSecond: null,
    });
    expect(await readOk(await api.get('/readyz'), 200)).toEqual({ status: 'ready', workers: 1 });
    expect(await readOk(await api.get('/v1/models/stickers'), 200)).toMatchObject({ loadedBy: ['w1'] });
    await dismissWorker(redis, keys, 'w1');
    expect(await readOk(await api.get('/v1/workers'), 200)).toEqual({ data: [] });
  });

  it('hands out its contract and its reference', async () => {
    expect(await readOk(await api.get('/openapi.json'), 200)).toMatchObject({
      openapi: '3.1.0',
      info: { title: 'findery' },
    });
    const docs = await api.get('/docs');
    expect(docs.status).toBe(200);
    expect(await docs.text()).toMatch(/<html/i);
  });

  it('explains every type of problem at the address that the problem gives', async () => {
    const problem: Problem = await expectProblem(await api.get('/nothing'), 404, 'not-found');
    expect(await readOk(await api.get(problem.type), 200)).toEqual({
      code: 'not-found',
      title: problem.title,
      status: 404,
      description: expect.stringMatching(/\S.*\./),
    });
  });

  it('queues again, once, what a crash left written but not queued', async () => {
    const job = await queueJob(api);
    const sample = await readOk(await api.post('/v1/samples', { prompt: PROMPT }), 202);
    const ended = await queueJob(api);
    await succeedJob(api, ended.id);
    await api.store.queues.remove('optimize', job.id);
    await api.store.queues.remove('sample', String(sample.id));
    expect(await requeueOrphans(api.store)).toBe(2);
    expect(await api.store.queues.has('optimize', job.id)).toBe(true);
    expect(await api.store.queues.has('sample', String(sample.id))).toBe(true);
    expect(await api.store.queues.has('optimize', ended.id)).toBe(false);
    expect(await requeueOrphans(api.store)).toBe(0);
  });

  it('logs every request under its id, and under the id of the job that it is about', async () => {
    const lines: Record<string, unknown>[] = [];
    const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
    const own = await startTestApi({}, logger);
    onTestFinished(() => own.close());
    const { id } = await queueJob(own, {}, { 'x-request-id': 'first' });
    await own.get(`/v1/jobs/${id}?x=1`, { 'x-request-id': 'second' });
    await own.post(`/v1/jobs/${id}/cancel`, undefined, { 'x-request-id': 'third' });
    await own.get('/v1/jobs/not-an-id', { 'x-request-id': 'fourth' });
    const jobOf = (message: string, requestId: string) =>
      lines.filter((line) => line.msg === message && line.requestId === requestId).map(({ jobId }) => jobId);
    await expect.poll(() => jobOf('request completed', 'first')).toEqual([id]);
    await expect.poll(() => jobOf('request completed', 'second')).toEqual([id]);
    expect(jobOf('job cancel requested', 'third')).toEqual([id]);
    await expect.poll(() => jobOf('request completed', 'fourth')).toEqual([undefined]);
  });

  it('twenty requests on one connection leave no listeners behind', async () => {
    const warnings: Error[] = [];
    const listen = (warning: Error) => warnings.push(warning);
    process.on('warning', listen);
    onTestFinished(() => void process.off('warning', listen));
    for (let i = 0; i < 20; i++) await queueJob(api);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(warnings).toEqual([]);
  });
});
