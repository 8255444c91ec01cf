import type { ChildProcess } from 'node:child_process';
import { copyFile, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { startService } from '../../src/cli/service.ts';
import { readConfig } from '../../src/config/config.ts';
import type { WorkerInfo } from '../../src/contract/schemas/catalog.ts';
import type { Job } from '../../src/contract/schemas/job.ts';
import type { Sample } from '../../src/contract/schemas/sample.ts';
import { RECYCLE_STATUS } from '../../workers/recycling.ts';
import { assemble } from '../support/family-fixtures.ts';
import { CAN_LIMIT_MEMORY, limitMemory } from '../support/limit-memory.ts';
import { startTestService, type TestService, terminate } from '../support/test-service.ts';

/**
 * Workers with real graphs, to which the operating system refuses the memory that ONNX Runtime
 * requests.
 */
const FAMILIES = resolve(import.meta.dirname, '..', 'fixtures', 'families');

let service: TestService;
let folder: string;
beforeAll(async () => {
  if (!CAN_LIMIT_MEMORY) return;
  folder = await mkdtemp(join(tmpdir(), 'findery-hungry-'));
  await rename(assemble('sd15', folder), join(folder, 'hungry'));
  const graph = join(FAMILIES, 'sd15-variants', 'vae_decoder-large.onnx');
  await copyFile(graph, join(folder, 'hungry', 'vae_decoder', 'model.onnx'));
  const models = [FAMILIES, folder].join(':');
  service = await startTestService({ FINDERY_MODELS: models, FINDERY_WARM: 'sd15', FINDERY_THREADS: '2' });
});
afterAll(async () => {
  await service?.close();
  if (folder) await rm(folder, { recursive: true, force: true });
});

const workers: ChildProcess[] = [];
afterEach(async () => {
  await Promise.all(workers.splice(0).map(terminate));
});

/** A worker that can get `mebibytes` more memory; null: no limit. */
async function startWorker(mebibytes: number | null): Promise<ChildProcess> {
  const worker = await service.startWorker();
  workers.push(worker);
  if (mebibytes !== null) limitMemory(Number(worker.pid), mebibytes);
  return worker;
}

async function call<T>(path: string, body?: object): Promise<T> {
  const init = body && {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  };
  const response = await fetch(service.url + path, init);
  const answer = await response.json();
  expect(response.ok, JSON.stringify(answer)).toBe(true);
  return answer as T;
}

async function until<T extends { readonly status: string }>(path: string, ...statuses: string[]): Promise<T> {
  for (;;) {
    const found = await call<T>(path);
    if (statuses.includes(found.status)) return found;
    await sleep(50);
  }
}

async function pixels(sample: Sample): Promise<Buffer[]> {
  return Promise.all(
    (sample.images ?? []).map(async ({ url }) => {
      const image = await fetch(service.url + url);
      return sharp(Buffer.from(await image.arrayBuffer()))
        .raw()
        .toBuffer();
    }),
  );
}

const sampling = { model: 'sd15', prompt: 'a green dog', reward: null, seed: 5, steps: 2, guidanceScale: 1 };
/**
 * Its VAE needs 128 MiB per picture, in one piece per run: eight exceed the limit, the rest does
 * not.
 */
const hungry = { ...sampling, model: 'hungry', width: 64, height: 64, count: 8 };
/** Needs about 270 MiB. */
const huge = { ...sampling, width: 1024, height: 1024, count: 1 };

async function sample(request: object): Promise<Sample> {
  const { id } = await call<Sample>('/v1/samples', request);
  return until<Sample>(`/v1/samples/${id}`, 'succeeded', 'failed');
}

describe.skipIf(!CAN_LIMIT_MEMORY)('a worker whose memory runs out', () => {
  it('reduces its batches, shows so, and makes the same pictures', async () => {
    const roomy = await startWorker(null);
    const expected = await sample(hungry);
    expect(expected).toMatchObject({ status: 'succeeded' });
    expect((await call<{ data: WorkerInfo[] }>('/v1/workers')).data[0].reducedBatches).toEqual([]);
    await terminate(roomy);

    const tight = await startWorker(null);
    // The worker gets the memory of a batch of four, and the stacks of its threads, before the
    // limit. Otherwise ONNX Runtime's arena would take nearly all that is left, and V8 would run
    // out instead.
    await sample({ ...hungry, count: 4 });
    await sample({ ...hungry, model: 'sd15' });
    limitMemory(Number(tight.pid), 400);
    const made = await sample(hungry);
    expect(made.error).toBeNull();
    expect(made).toMatchObject({ status: 'succeeded' });
    const all = await Promise.all([pixels(made), pixels(expected)]);
    expect(all[0]).toHaveLength(8);
    for (const [i, picture] of all[0].entries()) {
      const worst = picture.reduce((most, value, at) => Math.max(most, Math.abs(value - all[1][i][at])), 0);
      expect(worst).toBeLessThanOrEqual(1);
    }
    // The next heartbeat shows it.
    for (let limits: WorkerInfo['reducedBatches'] = []; limits.length === 0; await sleep(100)) {
      const { data } = await call<{ data: WorkerInfo[] }>('/v1/workers');
      limits = data.find(({ pid }) => pid === tight.pid)?.reducedBatches ?? [];
      if (limits.length === 0) continue;
      expect(limits).toEqual([{ model: 'hungry', width: 64, height: 64, batchSize: expect.any(Number) }]);
      expect(limits[0].batchSize).toBeLessThanOrEqual(4);
    }
    expect(tight.exitCode).toBeNull();
  });

  const job = {
    model: 'sd15',
    prompt: 'a green dog',
    reward: 'stickers-reward',
    seed: 5,
    budget: { images: 2 },
    reportDraws: 0,
    sampler: { steps: 1, guidanceScale: 1, width: 1024, height: 1024 },
  };

  it('gives its job back and ends if not even one picture fits; a new process continues', async () => {
    const tight = await startWorker(100);
    const ended = new Promise((done) => tight.once('exit', done));
    const { id } = await call<Job>('/v1/jobs', job);
    expect(await ended).toBe(RECYCLE_STATUS);
    expect(await call<Job>(`/v1/jobs/${id}`)).toMatchObject({ status: 'queued', error: null });

    await startWorker(null);
    expect(await until<Job>(`/v1/jobs/${id}`, 'succeeded', 'failed')).toMatchObject({ status: 'succeeded' });
  });

  it('fails the job if a new process has too little memory, too, and says what to do', async () => {
    const both = await Promise.all([startWorker(100), startWorker(100)]);
    const ended = both.map((worker) => new Promise((done) => worker.once('exit', done)));
    const { id } = await call<Job>('/v1/jobs', job);
    const failed = await until<Job>(`/v1/jobs/${id}`, 'succeeded', 'failed');
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'out-of-memory' } });
    expect(failed.error?.detail).toMatch(
      /sd15 at 1024x1024 needs more memory than there is on cpu.*smaller pictures/s,
    );
    expect(failed.error?.detail).not.toContain('onnxruntime_src');
    expect(await Promise.all(ended)).toEqual([RECYCLE_STATUS, RECYCLE_STATUS]);
  });

  it('does the same with samples', async () => {
    const both = await Promise.all([startWorker(100), startWorker(100)]);
    const ended = both.map((worker) => new Promise((done) => worker.once('exit', done)));
    expect(await sample(huge)).toMatchObject({ status: 'failed', error: { code: 'out-of-memory' } });
    expect(await Promise.all(ended)).toEqual([RECYCLE_STATUS, RECYCLE_STATUS]);
  });

  it('is replaced under npm start, and the new one continues the work', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'findery-start-'));
    const settings = {
      FINDERY_DATA: folder,
      FINDERY_MODELS: FAMILIES,
      FINDERY_WARM: 'sd15',
      FINDERY_REDIS_PREFIX: `test-start-${process.pid}`,
      FINDERY_LOCK_SECONDS: '2',
      LOG_LEVEL: 'fatal',
      PORT: '0',
    };
    // The worker process reads the environment.
    for (const [name, value] of Object.entries(settings)) vi.stubEnv(name, value);
    const lines: string[] = [];
    const logger = pino({ level: 'warn' }, { write: (line) => lines.push(line) });
    const started = await startService({ config: readConfig(process.env), logger, print: () => {} });
    try {
      await started.workerReady;
      const ask = async <T>(path: string, init?: RequestInit): Promise<T> =>
        (await fetch(started.url + path, init)).json() as Promise<T>;
      const { data } = await ask<{ data: WorkerInfo[] }>('/v1/workers');
      limitMemory(Number(data[0].pid), 100);
      const headers = { 'content-type': 'application/json' };
      const { id } = await ask<Sample>('/v1/samples', {
        method: 'POST',
        headers,
        body: JSON.stringify(huge),
      });
      let sample = await ask<Sample>(`/v1/samples/${id}`);
      for (; !['succeeded', 'failed'].includes(sample.status); await sleep(50))
        sample = await ask<Sample>(`/v1/samples/${id}`);
      expect(sample).toMatchObject({ status: 'succeeded', error: null });
      expect(lines.join('')).toContain('the worker needs a new process (its log says why); starting one');
    } finally {
      await started.close();
      vi.unstubAllEnvs();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
