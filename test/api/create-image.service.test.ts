import type { ChildProcess } from 'node:child_process';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Client } from '../../src/client/client.ts';
import type { CreatedImages } from '../../src/contract/schemas/create-image.ts';
import type { Job } from '../../src/contract/schemas/job.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

/** A small search on the embedded models: real graphs, worse pictures. */
const BUDGET = { images: 8 };

let service: TestService;
let worker: ChildProcess;
let client: Client;

beforeAll(async () => {
  service = await startTestService();
  worker = await service.startWorker();
  client = new Client(service.url);
});
afterAll(() => service?.close());

const post = (body: object, headers: Record<string, string> = {}) =>
  fetch(`${service.url}/v1/images`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
const created = async (response: Response) => {
  expect(response.status, await response.clone().text()).toBe(200);
  return (await response.json()) as CreatedImages;
};

describe('POST /v1/images', () => {
  it('answers with one picture when the client accepts a picture', async () => {
    const response = await post({ prompt: 'a green dog', seed: 7, budget: BUDGET }, { accept: 'image/png' });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('image/png');
    const metadata = await sharp(Buffer.from(await response.arrayBuffer())).metadata();
    expect(metadata).toMatchObject({ format: 'png', width: 64, height: 64 });
    const job = (await (
      await fetch(new URL(response.headers.get('location') ?? '', service.url))
    ).json()) as Job;
    expect(job).toMatchObject({ status: 'succeeded', prompt: 'a green dog', budget: BUDGET, report: null });
  });

  it('searches, samples n images of what it learned, and gives addresses that can be fetched', async () => {
    const images = await created(await post({ prompt: 'a red cat', n: 2, seed: 3, budget: BUDGET }));
    expect(images).toMatchObject({ status: 'succeeded', job: expect.stringMatching(/^job_/) });
    expect(images.data).toHaveLength(2);
    expect(images.data.map(({ index }) => index)).toEqual([0, 1]);
    const job = (await (await fetch(`${service.url}/v1/jobs/${images.job}`)).json()) as Job;
    expect(job).toMatchObject({ policyId: images.policy, sampleId: images.sample });
    for (const { url, reward } of images.data) {
      expect(Number.isFinite(reward)).toBe(true);
      const response = await fetch(url as string);
      expect(response.headers.get('content-type')).toBe('image/png');
    }
  });

  it('samples from a policy the same images as POST /v1/policies/{id}/samples', async () => {
    const { policy } = await created(await post({ prompt: 'a red cat', seed: 3, budget: BUDGET }));
    const images = await created(
      await post({ policy, seed: 5, response_format: 'b64_json', output_format: 'webp' }),
    );
    expect(images).toMatchObject({ job: null, policy });
    expect((await post({ policy, prompt: 'a red cat' })).status).toBe(200);
    expect((await post({ policy, prompt: 'a blue cat' })).status).toBe(422);
    const [image] = images.data;
    expect(image?.url).toBeUndefined();
    const bytes = Buffer.from(image?.b64_json ?? '', 'base64');
    expect(await sharp(bytes).metadata()).toMatchObject({ format: 'webp', width: 64 });
    const direct = await fetch(`${service.url}/v1/policies/${policy}/samples`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'wait=60' },
      body: JSON.stringify({ count: 1, seed: 5, format: 'webp' }),
    });
    const sample = (await direct.json()) as { images: { url: string }[] };
    expect(bytes.equals(Buffer.from(await client.bytes(sample.images[0]?.url ?? '')))).toBe(true);
  });

  it('samples from the base model when it is not to optimize', async () => {
    const images = await created(await post({ prompt: 'a red cat', optimize: false, size: '64x64' }));
    expect(images).toMatchObject({ job: null, policy: null, sample: expect.stringMatching(/^smp_/) });
    expect(images.data).toHaveLength(1);
  });

  it('answers 202 when the wait is over, and the images when asked again', async () => {
    const body = { prompt: 'a blue fish', seed: 1, budget: BUDGET };
    const first = await post(body, { prefer: 'respond-async', 'idempotency-key': 'fish' });
    expect(first.status).toBe(202);
    expect(first.headers.get('retry-after')).toBe('1');
    const pending = (await first.json()) as CreatedImages;
    expect(pending).toMatchObject({ data: [], sample: null, policy: null });
    expect(first.headers.get('location')).toBe(`/v1/jobs/${pending.job}`);
    const again = await created(await post(body, { 'idempotency-key': 'fish' }));
    expect(again).toMatchObject({ job: pending.job, created: pending.created });
    expect(again.data).toHaveLength(1);
    expect((await post({ ...body, n: 2 }, { 'idempotency-key': 'fish' })).status).toBe(422);
  });

  it('searches for 40 s at most unless it is given a budget', async () => {
    const response = await post({ prompt: 'a blue fish' }, { prefer: 'respond-async' });
    const { job } = (await response.json()) as CreatedImages;
    const record = (await (await fetch(`${service.url}/v1/jobs/${job}`)).json()) as Job;
    expect(record.budget).toEqual({ images: 100, seconds: 40, targetReward: null, patience: null });
    await fetch(`${service.url}/v1/jobs/${job}/cancel`, { method: 'POST' });
  });

  it.each([
    ['neither prompt nor policy', {}, {}, 422, /prompt is missing/],
    ['a policy and a search', { policy: `pol_${'0'.repeat(26)}`, optimize: true }, {}, 422, /"optimize"/],
    ['a policy and a budget', { policy: `pol_${'0'.repeat(26)}`, budget: BUDGET }, {}, 422, /"budget"/],
    ['a budget without a search', { prompt: 'a cat', optimize: false, budget: BUDGET }, {}, 422, /budget/],
    ['an unknown policy', { policy: `pol_${'0'.repeat(26)}` }, {}, 404, /policy/],
    ['an unknown model', { prompt: 'a cat', model: 'none' }, {}, 422, /no model "none"/],
    ['a size that is none', { prompt: 'a cat', size: '64' }, {}, 400, /size/],
    ['a size that the model can not make', { prompt: 'a cat', size: '65x64' }, {}, 422, /65x64/],
    ['too many images', { prompt: 'a cat', n: 17 }, {}, 400, /n/],
    ['an answer of another type', { prompt: 'a cat' }, { accept: 'text/html' }, 406, /image\/png/],
    ['one picture for several', { prompt: 'a cat', n: 2 }, { accept: 'image/png' }, 406, /not 2/],
  ])('refuses %s', async (_what, body, headers, status, detail) => {
    const response = await post(body, headers as Record<string, string>);
    const problem = (await response.json()) as { detail: string; status: number };
    expect(problem).toMatchObject({ status, detail: expect.stringMatching(detail) });
    expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  });

  it('tells of a search that failed as the problem that ended it', async () => {
    const images = post({ prompt: 'a cat', budget: { images: 5000 } });
    const job = await vi.waitFor(async () => {
      const { data } = (await (await fetch(`${service.url}/v1/jobs?limit=1`)).json()) as { data: Job[] };
      expect(data[0]?.budget.images).toBe(5000);
      return data[0];
    });
    await fetch(`${service.url}/v1/jobs/${job?.id}/cancel`, { method: 'POST' });
    const response = await images;
    expect(response.status).toBe(409);
    expect(worker.exitCode).toBeNull();
  });
});
