import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { WorkerInfo } from '../../src/contract/schemas/catalog.ts';
import type { Job } from '../../src/contract/schemas/job.ts';
import { assemble } from '../support/family-fixtures.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

const NAMES = ['sd15', 'sdxl', 'sd3', 'flux'];
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-start-'));
  for (const name of NAMES) assemble(name, folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function startService(settings: { readonly [name: string]: string }): Promise<TestService> {
  const service = await startTestService({ FINDERY_MODELS: folder, ...settings });
  onTestFinished(() => service.close());
  return service;
}

async function loadedModels({ url }: TestService): Promise<string[]> {
  const { data } = (await (await fetch(`${url}/v1/workers`)).json()) as { data: WorkerInfo[] };
  return data.flatMap(({ loaded }) => loaded.filter((name) => [...NAMES, 'broken'].includes(name)));
}

async function createJob({ url }: TestService, model: string): Promise<Job> {
  const body = {
    model,
    prompt: 'a dog',
    reward: 'jpeg-size',
    seed: 1,
    budget: { images: 1 },
    reportDraws: 0,
  };
  const response = await fetch(`${url}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, sampler: { steps: 1 } }),
  });
  expect(response.status).toBe(202);
  return (await response.json()) as Job;
}

async function untilEnded({ url }: TestService, id: string): Promise<Job> {
  for (;;) {
    const job = (await (await fetch(`${url}/v1/jobs/${id}`)).json()) as Job;
    if (job.finishedAt !== null) return job;
    await sleep(20);
  }
}

describe('a worker', () => {
  it('takes a job that waits before it has warmed up its models, and warms them up afterwards', async () => {
    const service = await startService({ FINDERY_WARM: NAMES.join(), FINDERY_MODELS_IN_MEMORY: '4' });
    const { id } = await createJob(service, 'flux');
    const began = Date.now();
    await service.startWorker();
    const job = await untilEnded(service, id);
    expect(job).toMatchObject({ status: 'succeeded', error: null });
    console.log(
      `first job taken ${Date.parse(job.startedAt ?? '') - began} ms and ended ${Date.now() - began} ms ` +
        'after the start of the worker',
    );
    expect(await loadedModels(service)).not.toEqual(expect.arrayContaining(NAMES));
    await expect.poll(() => loadedModels(service), { timeout: 60_000 }).toHaveLength(NAMES.length);
  });

  it('closes no model of a job to warm up another one', async () => {
    const service = await startService({ FINDERY_WARM: 'sd15', FINDERY_MODELS_IN_MEMORY: '1' });
    const { id } = await createJob(service, 'sd3');
    await service.startWorker();
    await untilEnded(service, id);
    await expect.poll(() => loadedModels(service), { timeout: 10_000 }).toEqual(['sd3']);
    await sleep(1500);
    expect(await loadedModels(service)).toEqual(['sd3']);
  });

  it('serves the other models when one cannot be warmed up', async () => {
    const parent = await mkdtemp(join(tmpdir(), 'findery-broken-'));
    onTestFinished(() => rm(parent, { recursive: true, force: true }));
    for (const name of ['sd15', 'sdxl']) assemble(name, parent);
    await writeFile(join(parent, 'sd15', 'unet', 'model.onnx'), Buffer.alloc(1000, 1));
    const service = await startService({
      FINDERY_MODELS: parent,
      FINDERY_WARM: 'sd15,sdxl',
      LOG_LEVEL: 'fatal',
    });
    await service.startWorker();
    await expect.poll(() => loadedModels(service), { timeout: 20_000 }).toEqual(['sdxl']);
    const broken = await untilEnded(service, (await createJob(service, 'sd15')).id);
    expect(broken).toMatchObject({ status: 'failed', error: { code: 'generation-failed' } });
    const { id } = await createJob(service, 'sdxl');
    expect(await untilEnded(service, id)).toMatchObject({ status: 'succeeded' });
  });
});
