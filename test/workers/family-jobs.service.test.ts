import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../src/client/client.ts';
import type { Model } from '../../src/contract/schemas/catalog.ts';
import { assemble, bundleNames } from '../support/family-fixtures.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

/**
 * A model of every family, in a folder of FINDERY_MODELS and used over HTTP with its own defaults.
 */
let service: TestService;
let client: Client;
let folder: string;
const names = bundleNames().filter((name) => !name.endsWith('-fp16'));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-family-jobs-'));
  for (const name of [...names, 'sdxl-fp16']) assemble(name, folder);
  service = await startTestService({ FINDERY_MODELS: [join(process.cwd(), 'models'), folder].join(':') });
  client = new Client(service.url);
  await service.startWorker();
});

afterAll(async () => {
  await service?.close();
  await rm(folder, { recursive: true, force: true });
});

const get = async (path: string) => (await fetch(`${service.url}${path}`)).json();
const send = async (body: object) => {
  const headers = { 'content-type': 'application/json' };
  const request = {
    prompt: 'a green dog on the grass',
    seed: 7,
    budget: { images: 1 },
    reward: 'jpeg-size',
    ...body,
  };
  return fetch(`${service.url}/v1/jobs`, { method: 'POST', headers, body: JSON.stringify(request) });
};

describe('GET /v1/models', () => {
  it('shows family, defaults and schedulers of each model', async () => {
    const { data } = (await get('/v1/models')) as { data: Model[] };
    const model = (name: string) => data.find((one) => one.name === name);
    expect(data.filter(({ problem }) => problem).map(({ name, problem }) => `${name}: ${problem}`)).toEqual(
      [],
    );
    expect(model('sd15')).toMatchObject({
      family: 'stable-diffusion',
      defaults: { scheduler: 'pndm', steps: 50, guidanceScale: 7.5, clipSkip: 0, width: 64, height: 64 },
      sizeMultiple: 16,
      promptTokens: 24,
    });
    expect(model('lcm')?.defaults).toMatchObject({ scheduler: 'lcm', steps: 4, guidanceScale: 8.5 });
    expect(model('sd-turbo')?.defaults).toMatchObject({ scheduler: 'euler', steps: 1, guidanceScale: 0 });
    expect(model('sdxl-turbo')?.defaults).toMatchObject({
      scheduler: 'euler-ancestral',
      steps: 1,
      guidanceScale: 0,
    });
    expect(model('sd3')).toMatchObject({
      family: 'stable-diffusion-3',
      promptTokens: 256,
      schedulers: ['flow-match-euler'],
    });
    expect(model('flux')?.defaults).toMatchObject({
      scheduler: 'flow-match-euler',
      steps: 28,
      guidanceScale: 3.5,
      width: 1024,
    });
    expect(model('flux-schnell')?.defaults).toMatchObject({ steps: 4, guidanceScale: 0 });
    expect(model('sdxl')?.schedulers).toContain('dpmsolver++-karras');
    expect(model('sdxl')?.schedulers).not.toContain('flow-match-euler');
  });
});

describe('a job on', () => {
  it.each([...names, 'sdxl-fp16'])(
    '%s succeeds, small, with the scheduler and guidance of its configs',
    async (model) => {
      const { defaults } = (await get(`/v1/models/${model}`)) as Model;
      const steps = Math.min(defaults?.steps ?? 1, 3);
      const job = await client.createJob({
        prompt: 'a green dog on the grass',
        seed: 7,
        model,
        reward: 'jpeg-size',
        budget: { images: 4 },
        reportDraws: 2,
        // FLUX.1's configs have no size; its pipeline's default is 1024.
        sampler: { steps, width: 64, height: 64 },
        samples: 1,
      });
      const ended = await client.follow(job, () => {});
      expect(ended).toMatchObject({ status: 'succeeded', error: null, model });
      const { images } = await client.getSample(ended.sampleId as string);
      expect(images[0]).toMatchObject({ width: 64, height: 64 });
    },
  );
});

describe('a request that does not fit its model', () => {
  it.each([
    ['flux', { sampler: { scheduler: 'euler' } }, /made for FlowMatchEulerDiscreteScheduler/],
    ['sd15', { sampler: { scheduler: 'Flow Match Euler Discrete' } }, /made for PNDMScheduler/],
    ['flux', { sampler: { clipSkip: 1 } }, /clipSkip is 1, but flux takes only 0 \(it reads T5\)/],
    ['sd15', { sampler: { clipSkip: 4 } }, /clipSkip is 4, but sd15 takes 0 to 3/],
    ['sdxl', { sampler: { width: 72 } }, /can't make 72x64 pictures; it makes multiples of 16/],
    ['lcm', { sampler: { steps: 51 } }, /steps is 51; .*from 1 to 50/],
  ])('is refused: %s %j', async (model, body, detail) => {
    const response = await send({ model, ...body });
    const problem = (await response.json()) as { status: number; detail: string };
    expect(problem.status).toBe(422);
    expect(problem.detail).toMatch(detail);
  });

  it.each([
    [
      'flux',
      { sampler: { width: 64, height: 64, steps: 1 } },
      'this model makes pictures without classifier-free guidance',
    ],
    ['lcm', { sampler: { steps: 1 } }, 'this model makes pictures without classifier-free guidance'],
    ['sd-turbo', {}, 'guidanceScale is 0, and only above 1'],
    ['sd15', { sampler: { guidanceScale: 1 } }, 'guidanceScale is 1, and only above 1'],
  ])('gets a warning: %s does not read the negative prompt', async (model, body, why) => {
    const job = (await (await send({ model, negativePrompt: 'blurry', ...body })).json()) as {
      id: string;
      warnings: { code: string; message: string }[];
    };
    expect(job.warnings).toEqual([{ code: 'negative-prompt-unused', message: expect.stringContaining(why) }]);
    await fetch(`${service.url}/v1/jobs/${job.id}/cancel`, { method: 'POST' });
  });

  it('gets a warning: one text encoder of sd3 reads less of the prompt than another', async () => {
    const prompt = 'a green dog on the grass, '.repeat(8);
    const job = (await (await send({ model: 'sd3', prompt })).json()) as {
      id: string;
      warnings: { message: string }[];
    };
    expect(job.warnings.map(({ message }) => message)).toEqual([
      expect.stringContaining(
        'sd3 reads the first 24 tokens of the prompt (by one of its text encoders; another reads 256); ' +
          'this is cut off: "',
      ),
    ]);
    await fetch(`${service.url}/v1/jobs/${job.id}/cancel`, { method: 'POST' });
  });

  it('may name a scheduler as other programs do; the answer has our name', async () => {
    const job = (await (
      await send({ model: 'sd15', sampler: { scheduler: 'DPM++ 2M Karras', steps: 2 } })
    ).json()) as {
      id: string;
      sampler: { scheduler: string };
    };
    expect(job.sampler.scheduler).toBe('dpmsolver++-karras');
    await fetch(`${service.url}/v1/jobs/${job.id}/cancel`, { method: 'POST' });
  });
});
