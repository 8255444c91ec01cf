import type { ChildProcess } from 'node:child_process';
import { cp, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../src/client/client.ts';
import type { JobEvents } from '../../src/contract/schemas/event.ts';
import type { Job, JobRequest } from '../../src/contract/schemas/job.ts';
import type { RewardPoint } from '../../src/contract/schemas/reward-history.ts';
import { decodePolicy } from '../../src/storage/policy-file.ts';
import { startTestService, type TestService, terminate } from '../support/test-service.ts';

/** Few steps: the graphs and rewards are real, the pictures are worse. */
const REQUEST: JobRequest = {
  prompt: 'a green dog on the grass',
  seed: 7,
  budget: { images: 40 },
  sampler: { steps: 3 },
  reportDraws: 8,
  samples: 2,
};

let service: TestService;
let client: Client;
let worker: ChildProcess;

beforeAll(async () => {
  // The UNet of this model is noise, which nobody notices before its graph is opened.
  const folder = await mkdtemp(join(tmpdir(), 'findery-models-'));
  await cp('models/stickers', join(folder, 'zz-corrupt'), { recursive: true });
  await writeFile(join(folder, 'zz-corrupt', 'unet', 'model.onnx'), Buffer.alloc(4096, 7));
  service = await startTestService({ FINDERY_MODELS: [join(process.cwd(), 'models'), folder].join(':') });
  client = new Client(service.url);
  worker = await service.startWorker();
});

afterAll(async () => service?.close());

/** Runs a job to its end; `onIteration` may interfere. */
async function run(request: JobRequest, onIteration?: (iteration: number, job: Job) => void) {
  const job = await client.createJob(request);
  const iterations: number[] = [];
  const ended = await client.follow(job, (type, data) => {
    if (type !== 'iteration') return;
    const { iteration } = data as JobEvents['iteration'];
    iterations.push(iteration);
    onIteration?.(iteration, job);
  });
  return { job: ended, iterations };
}

const parameters = (job: Job) => client.bytes(`/v1/policies/${job.policyId}/parameters`);
const images = async (job: Job) => {
  const { images } = await client.getSample(job.sampleId as string);
  return Promise.all(images.map(({ url }) => client.bytes(url)));
};
const rewards = async (job: Job) =>
  (JSON.parse(Buffer.from(await client.bytes(job.urls.rewards)).toString()) as { data: RewardPoint[] }).data;

describe('a job', () => {
  let undisturbed: { job: Job; iterations: number[] };
  beforeAll(async () => {
    undisturbed = await run(REQUEST);
  });

  it('ends with a policy, its report and the requested samples', async () => {
    const { job, iterations } = undisturbed;
    expect(job).toMatchObject({
      status: 'succeeded',
      error: null,
      attempts: 1,
      progress: { stage: 'ended', images: 40, fraction: 1 },
    });
    expect(job.report).toMatchObject({ draws: 8 });
    expect(job.report?.meanNorm).toBeGreaterThan(0.95);
    expect(iterations).toEqual(iterations.map((_, i) => i + 1));
    expect(await rewards(job)).toHaveLength(40);
    expect(await images(job)).toHaveLength(2);
    expect(
      Buffer.from((await images(job))[0])
        .subarray(1, 4)
        .toString(),
    ).toBe('PNG');
  });

  it('counts what it used once, with its report and its samples', async () => {
    const { data } = (await (await fetch(`${service.url}/v1/usage`)).json()) as {
      data: { engineSeconds: number }[];
    };
    const storedBytes = expect.any(Number);
    const tenant = 'default';
    expect(data).toMatchObject([{ tenant, jobs: 1, samples: 1, images: 40 + 2 * 8 + 2, storedBytes }]);
    const { startedAt, finishedAt } = undisturbed.job;
    const seconds = (Date.parse(String(finishedAt)) - Date.parse(String(startedAt))) / 1000;
    expect(data[0].engineSeconds).toBeGreaterThan(0);
    expect(data[0].engineSeconds).toBeLessThan(seconds);
  });

  it('stores a policy file that describes itself and contains neither ids nor times', async () => {
    const { distribution, metadata } = decodePolicy(await parameters(undisturbed.job), [4, 16, 16]);
    expect(distribution.mean).toHaveLength(distribution.weights.length * 4 * 16 * 16);
    expect(metadata).toMatchObject({
      prompt: REQUEST.prompt,
      model: 'stickers',
      reward: 'stickers-reward',
      seed: 7,
      optimizer: { name: 'gp' },
      report: { draws: 8 },
    });
    expect(JSON.stringify(metadata)).not.toMatch(/job_|pol_|\d{4}-\d\d-\d\dT/);
  });

  it('gives the same policy bytes, image bytes and rewards a second time', async () => {
    const { job } = await run(REQUEST);
    expect(job.id).not.toBe(undisturbed.job.id);
    expect(await parameters(job)).toEqual(await parameters(undisturbed.job));
    expect(await images(job)).toEqual(await images(undisturbed.job));
    expect(await rewards(job)).toEqual(await rewards(undisturbed.job));
  });

  it.each([
    ['the requested number of samples', 3, 3],
    ['32 samples by default', undefined, 32],
  ])('is judged on %s of each distribution', async (_, reportDraws, draws) => {
    const { job } = await run({ ...REQUEST, samples: 0, budget: { images: 20 }, reportDraws });
    expect(job.report).toMatchObject({ draws });
    const policy = await (await fetch(`${service.url}/v1/policies/${job.policyId}`)).json();
    expect(policy).toMatchObject({ imagesSpent: 20 + 2 * draws });
  });

  it('without a report has a policy', async () => {
    const { job } = await run({ ...REQUEST, samples: 1, budget: { images: 20 }, reportDraws: 0 });
    expect(job).toMatchObject({ status: 'succeeded', report: null, progress: { fraction: 1 } });
    expect(await images(job)).toHaveLength(1);
    expect(await (await fetch(`${service.url}/v1/policies/${job.policyId}`)).json()).toMatchObject({
      report: null,
      imagesSpent: 20,
    });
  });

  it('gives another policy with another seed', async () => {
    const { job } = await run({ ...REQUEST, seed: 8, samples: 0 });
    expect(await parameters(job)).not.toEqual(await parameters(undisturbed.job));
  });

  it('whose worker is killed continues on another one and ends with the same bytes', async () => {
    let killed = false;
    const { job, iterations } = await run(REQUEST, (iteration) => {
      if (iteration < 4 || killed) return;
      killed = true;
      worker.once('exit', () => void service.startWorker().then((next) => (worker = next)));
      worker.kill('SIGKILL');
    });
    expect(killed).toBe(true);
    expect(job).toMatchObject({ status: 'succeeded', attempts: 2 });
    // No event is missing or repeated.
    expect(iterations).toEqual(undisturbed.iterations);
    expect(await parameters(job)).toEqual(await parameters(undisturbed.job));
    expect(await images(job)).toEqual(await images(undisturbed.job));
    expect(await rewards(job)).toEqual(await rewards(undisturbed.job));
  });

  it('is given back on SIGTERM, continues on another worker and ends with the same bytes', async () => {
    let isEnding = false;
    const { job } = await run(REQUEST, (iteration) => {
      if (iteration < 3 || isEnding) return;
      isEnding = true;
      void terminate(worker).then(async (code) => {
        expect(code).toBe(0);
        worker = await service.startWorker();
      });
    });
    expect(job).toMatchObject({ status: 'succeeded', attempts: 2 });
    expect(await parameters(job)).toEqual(await parameters(undisturbed.job));
  });

  it('ends soon after it is canceled', async () => {
    let canceledAt = 0;
    const { job } = await run({ ...REQUEST, budget: { images: 5000 } }, (iteration, { urls }) => {
      if (iteration !== 2) return;
      canceledAt = Date.now();
      void fetch(new URL(urls.cancel, service.url), { method: 'POST' });
    });
    expect(Date.now() - canceledAt).toBeLessThan(15_000);
    expect(job).toMatchObject({ status: 'canceled', policyId: null });
  });

  it('canceled with keepPartial has the policy that it has learned so far', async () => {
    const { job } = await run({ ...REQUEST, budget: { images: 5000 } }, (iteration, { urls }) => {
      if (iteration !== 8) return;
      void fetch(new URL(urls.cancel, service.url), {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"keepPartial": true}',
      });
    });
    expect(job.status).toBe('canceled');
    expect(await client.getPolicy(job.policyId as string)).toMatchObject({ report: null, model: 'stickers' });
  });

  it('stops early when it reaches its target reward', async () => {
    const { job } = await run({ ...REQUEST, samples: 0, budget: { images: 500, targetReward: -5 } });
    expect(job).toMatchObject({ status: 'succeeded', progress: { iteration: 1 } });
  });

  it.each(['find', 'best-of-n'])('runs with %s', async (name) => {
    const { job } = await run({ ...REQUEST, samples: 0, budget: { images: 20 }, optimizer: { name } });
    expect(job).toMatchObject({ status: 'succeeded', optimizer: { name } });
  });

  it('fails with a problem that names the damaged graph of its model', async () => {
    const { job } = await run({ ...REQUEST, model: 'zz-corrupt', reward: 'stickers-reward' });
    expect(job).toMatchObject({ status: 'failed', error: { code: 'generation-failed', status: 500 } });
    expect(job.error?.detail).toMatch(/zz-corrupt\/unet\/model\.onnx can't be opened/);
  });
});

describe('samples', () => {
  it('of a policy use the noise keys of base samples with the same seed', async () => {
    const { job } = await run({
      ...REQUEST,
      samples: 0,
      budget: { images: 20 },
      optimizer: { name: 'best-of-n' },
    });
    // best-of-n learns N(0, I) itself, so the same seed gives the same pictures.
    const learned = await client.sample(`/v1/policies/${job.policyId}/samples`, { seed: 5, count: 3 });
    const base = await client.sample('/v1/samples', { prompt: REQUEST.prompt, seed: 5, count: 3, steps: 3 });
    const bytes = async (sample: typeof base) =>
      Promise.all(sample.images.map(({ url }) => client.bytes(url)));
    expect(await bytes(learned)).toEqual(await bytes(base));
  });

  it('with bestOf are those with the highest rewards', async () => {
    const all = await client.sample('/v1/samples', { prompt: REQUEST.prompt, seed: 6, count: 8, steps: 3 });
    const best = await client.sample('/v1/samples', {
      prompt: REQUEST.prompt,
      seed: 6,
      count: 2,
      bestOf: 8,
      steps: 3,
    });
    const sorted = all.images.map(({ reward }) => reward as number).sort((a, b) => b - a);
    expect(best.images.map(({ reward }) => reward)).toEqual(sorted.slice(0, 2));
  });

  it.each(['webp', 'jpeg'])('are served as %s, scaled, and in byte ranges', async (format) => {
    const { images } = await client.sample('/v1/samples', {
      prompt: REQUEST.prompt,
      seed: 6,
      count: 1,
      steps: 2,
      format,
    });
    const whole = await fetch(new URL(images[0].url, service.url));
    expect(whole.headers.get('content-type')).toBe(`image/${format}`);
    const bytes = Buffer.from(await whole.arrayBuffer());
    const part = await fetch(new URL(images[0].url, service.url), { headers: { range: 'bytes=2-5' } });
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer())).toEqual(bytes.subarray(2, 6));
    expect(
      (await fetch(new URL(images[0].url, service.url), { headers: { range: `bytes=${bytes.length}-` } }))
        .status,
    ).toBe(416);
    const scaled = await fetch(new URL(`${images[0].url}?width=16`, service.url));
    expect(scaled.status).toBe(200);
    const again = await fetch(new URL(images[0].url, service.url), {
      headers: { 'if-none-match': whole.headers.get('etag') as string },
    });
    expect(again.status).toBe(304);
  });

  it('are the same pictures whatever else the worker runs', async () => {
    const alone = await client.sample('/v1/samples', { prompt: 'a red book', seed: 9, count: 2, steps: 3 });
    const busy = run({ ...REQUEST, samples: 0 });
    const beside = await client.sample('/v1/samples', { prompt: 'a red book', seed: 9, count: 2, steps: 3 });
    const bytes = async (sample: typeof alone) =>
      Promise.all(sample.images.map(({ url }) => client.bytes(url)));
    expect(await bytes(beside)).toEqual(await bytes(alone));
    await busy;
  });
});

describe('the service', () => {
  it('is ready and lists its worker with the loaded models', async () => {
    expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
    const { data } = (await (await fetch(`${service.url}/v1/workers`)).json()) as {
      data: { loaded: string[]; pid: number }[];
    };
    expect(data.find(({ pid }) => pid === worker.pid)?.loaded).toEqual(
      expect.arrayContaining(['stickers', 'stickers-reward']),
    );
  });
});
