import { rm, writeFile } from 'node:fs/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { blobFolder } from '../../src/config/config.ts';
import type { Problem } from '../../src/contract/schemas/common.ts';
import { announceWorker, dismissWorker } from '../../src/store/worker-registry.ts';
import { expectProblem, readOk, startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('the service', () => {
  it('answers /healthz without a worker; /readyz names what is missing', async () => {
    expect(await readOk(await api.get('/healthz'), 200)).toEqual({ status: 'ok' });
    const response = await api.get('/readyz');
    expect(response.headers.get('retry-after')).toBe('2');
    expect((await expectProblem(response, 503, 'unavailable')).detail).toMatch(
      /No worker is alive \(npm run worker\)/,
    );
  });

  it('says in /readyz that storage is not writable, without its place, which is in the log', async () => {
    const lines: string[] = [];
    const own = await startTestApi({}, pino({ level: 'warn' }, { write: (line) => void lines.push(line) }));
    onTestFinished(() => own.close());
    const blobs = blobFolder(own.config);
    await rm(blobs, { recursive: true, force: true });
    await writeFile(blobs, ''); // a file where the folder should be
    const { detail } = await expectProblem(await own.get('/readyz'), 503, 'unavailable');
    expect(detail).toContain("Storage can't be written; the log");
    expect(detail).not.toContain('/findery-api');
    expect(lines.join('')).toContain(blobs);
    await rm(blobs);
  });

  it('shows a live worker in /readyz, /v1/workers and the models it has loaded', async () => {
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
    expect(await readOk(await api.get('/readyz'), 200)).toEqual({
      status: 'ready',
      workers: 1,
      warnings: [],
    });
    expect(await readOk(await api.get('/v1/models/stickers'), 200)).toMatchObject({ loadedBy: ['w1'] });
    await dismissWorker(redis, keys, 'w1');
    expect(await readOk(await api.get('/v1/workers'), 200)).toEqual({ data: [] });
  });

  it('serves its OpenAPI document and its reference', async () => {
    expect(await readOk(await api.get('/openapi.json'), 200)).toMatchObject({
      openapi: '3.1.0',
      info: { title: 'findery' },
    });
    const docs = await api.get('/docs');
    expect(docs.status).toBe(200);
    expect(await docs.text()).toMatch(/<html/i);
  });

  it('explains a problem type at the address in its `type`', async () => {
    const problem: Problem = await expectProblem(await api.get('/nothing'), 404, 'not-found');
    expect(await readOk(await api.get(problem.type), 200)).toEqual({
      code: 'not-found',
      title: problem.title,
      status: 404,
      description: expect.stringMatching(/\S.*\./),
    });
  });
});
