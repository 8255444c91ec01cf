import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RewardHistory } from '../../src/contract/schemas/reward-history.ts';
import {
  expectProblem,
  queueJob,
  readOk,
  startTestApi,
  succeedJob,
  type TestApi,
} from '../support/test-api.ts';

/** No worker runs here; the tests write the rewards as a worker would. */
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('GET /v1/jobs/{id}/rewards', () => {
  let path: string;
  beforeAll(async () => {
    const { id } = await queueJob(api);
    path = `/v1/jobs/${id}/rewards`;
    await api.store.jobs.change(id, { rewards: { offset: 0, iteration: 1, values: [0.5, 0.25] } });
    await api.store.jobs.change(id, { rewards: { offset: 2, iteration: 2, values: [1, 0.75] } });
  });

  it('are JSON: the reward of every image, the mean and the smoothed mean of every iteration', async () => {
    // The last one is Chrome's header for a typed address.
    const browser = 'text/html,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8';
    for (const accept of ['application/json', '*/*', 'text/html, application/*;q=0.5', browser])
      expect(await readOk(await api.get(`${path}?sigma=0`, { accept }), 200)).toMatchObject({
        sigma: 0,
        data: [
          { image: 1, iteration: 1, reward: 0.5 },
          { image: 2, iteration: 1, reward: 0.25 },
          { image: 3, iteration: 2, reward: 1 },
          { image: 4, iteration: 2, reward: 0.75 },
        ],
        iterations: [
          { iteration: 1, mean: 0.375, smoothed: 0.375 },
          { iteration: 2, mean: 0.875, smoothed: 0.875 },
        ],
      });
  });

  it.each([
    ['?format=csv', {}],
    ['', { accept: 'text/csv' }],
    ['', { accept: 'application/json;q=0.1, text/csv' }],
  ])('are a table: %s %o', async (query, headers) => {
    const response = await api.get(`${path}${query}`, headers);
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    expect(response.headers.get('vary')).toMatch(/accept/i);
    const [header, ...lines] = (await response.text()).trimEnd().split('\n');
    expect(header).toBe('image,iteration,reward,smoothed');
    expect(lines).toHaveLength(4);
    expect(lines[3]).toMatch(/^4,2,0\.75,0\.\d+$/);
  });

  it.each([
    ['?format=svg', {}],
    ['', { accept: 'image/svg+xml' }],
  ])('are an SVG curve: %s %o', async (query, headers) => {
    const response = await api.get(`${path}${query}`, headers);
    expect(response.headers.get('content-type')).toBe('image/svg+xml');
    expect(await response.text()).toMatch(/^<svg[\s\S]*a green dog on the grass[\s\S]*<\/svg>\s*$/);
  });

  it.each([
    ['?format=png', {}],
    ['', { accept: 'image/png' }],
    ['', { accept: 'image/*' }],
  ])('are a PNG curve: %s %o', async (query, headers) => {
    const response = await api.get(`${path}${query}`, headers);
    expect(response.headers.get('content-type')).toBe('image/png');
    const { format, width } = await sharp(Buffer.from(await response.arrayBuffer())).metadata();
    expect(format).toBe('png');
    expect(width).toBeGreaterThan(300);
  });

  it('are empty in every format before the first iteration', async () => {
    const { id } = await queueJob(api);
    expect(await readOk(await api.get(`/v1/jobs/${id}/rewards`), 200)).toMatchObject({
      data: [],
      iterations: [],
    });
    for (const format of ['csv', 'svg', 'png'])
      expect((await api.get(`/v1/jobs/${id}/rewards?format=${format}`)).status).toBe(200);
  });

  it('are streamed from Redis when they are many, in every format', async () => {
    const { id } = await queueJob(api);
    const values = Array.from({ length: 5000 }, (_, i) => Math.sin(i));
    await api.store.jobs.change(id, { rewards: { offset: 0, iteration: 1, values } });
    await api.store.jobs.change(id, { rewards: { offset: 5000, iteration: 2, values } });
    const json = await api.get(`/v1/jobs/${id}/rewards`);
    expect(json.headers.get('transfer-encoding')).toBe('chunked');
    expect(json.headers.get('content-type')).toBe('application/json');
    const { data, iterations } = (await json.json()) as RewardHistory;
    expect(data.map(({ reward }) => reward)).toEqual([...values, ...values]);
    expect(data.map(({ image }) => image)).toEqual(data.map((_, i) => i + 1));
    expect(iterations).toHaveLength(2);
    const csv = await api.get(`/v1/jobs/${id}/rewards?format=csv`);
    expect(csv.headers.get('transfer-encoding')).toBe('chunked');
    expect((await csv.text()).trimEnd().split('\n')).toHaveLength(10_001);
    expect((await api.send('HEAD', `/v1/jobs/${id}/rewards`)).status).toBe(200);
    expect((await api.get(`/v1/jobs/${id}/rewards?format=png`)).status).toBe(200);
  });

  it('are not sent again to a client that has them, once the job has ended', async () => {
    const { id } = await queueJob(api);
    await api.store.jobs.change(id, { rewards: { offset: 0, iteration: 1, values: [1, 2] } });
    const path = `/v1/jobs/${id}/rewards?format=png`;
    expect((await api.get(path)).headers.get('etag')).toBeNull();
    await succeedJob(api, id);
    const first = await api.get(path);
    const etag = String(first.headers.get('etag'));
    expect([first.status, first.headers.get('cache-control')]).toEqual([200, 'private, no-cache']);
    const again = await api.get(path, { 'if-none-match': etag });
    expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', etag]);
    for (const other of ['?format=svg', '?format=png&sigma=1'])
      expect((await api.get(`/v1/jobs/${id}/rewards${other}`, { 'if-none-match': etag })).status).toBe(200);
  });

  it('give 406 with the available types for another type', async () => {
    const { detail } = await expectProblem(
      await api.get(path, { accept: 'application/pdf' }),
      406,
      'not-acceptable',
    );
    expect(detail).toMatch(/"application\/pdf".*text\/csv.*image\/png/);
  });
});
