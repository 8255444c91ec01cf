import sharp from 'sharp';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import { encodePolicy } from '../../src/storage/policy-file.ts';
import { expectProblem, type JsonAnswer, readOk, startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('policies', () => {
  const shape = [4, 16, 16];
  const file = encodePolicy(
    {
      shape,
      mean: new Float32Array(1024).fill(0.25),
      std: Float32Array.of(0.9),
      weights: Float32Array.of(1),
    },
    { prompt: 'a red cat', seed: 7, sampler: { steps: 5 }, optimizer: { name: 'find' } },
  );
  const upload = (query = '') =>
    api.post(`/v1/policies${query}`, file, { 'content-type': 'application/octet-stream' });
  let policy: JsonAnswer;
  let path: string;

  beforeEach(async () => {
    const response = await upload();
    policy = await readOk(response, 201);
    path = `/v1/policies/${policy.id}`;
    expect(response.headers.get('location')).toBe(path);
  });

  it('are imported with the metadata of their file, and listed', async () => {
    expect(policy).toMatchObject({
      object: 'policy',
      origin: 'import',
      jobId: null,
      prompt: 'a red cat',
      model: 'stickers',
      reward: 'stickers-reward',
      sampler: { scheduler: 'dpmsolver++', steps: 5, guidanceScale: 4, width: 64, height: 64 },
      optimizer: { name: 'find' },
      seed: 7,
      distribution: { kind: 'gaussian', components: 1, shape },
      report: null,
      bytes: file.byteLength,
    });
    expect(await readOk(await api.get(path), 200)).toEqual(policy);
    const page = (await readOk(await api.get('/v1/policies?limit=1&model=stickers'), 200)) as {
      data?: unknown;
    };
    expect(page.data).toEqual([policy]);
    expect(await readOk(await api.get('/v1/policies?model=other'), 200)).toMatchObject({
      data: [],
      hasMore: false,
    });
  });

  it('prefer the query of the import to the metadata of the file', async () => {
    expect(await readOk(await upload('?prompt=a%20blue%20fish&negativePrompt=blurry'), 201)).toMatchObject({
      prompt: 'a blue fish',
      negativePrompt: 'blurry',
    });
  });

  it.each([
    ['a name', 'jpeg-size', 'jpeg-size'],
    ['a list of one with weight 1', [{ name: 'jpeg-size', weight: 1 }], 'jpeg-size'],
    [
      'a list',
      [{ name: 'jpeg-size', weight: -0.5 }, { name: 'stickers-reward' }],
      [
        { name: 'jpeg-size', weight: -0.5 },
        { name: 'stickers-reward', weight: 1 },
      ],
    ],
  ])('have the reward of their file, and sample with it: %s', async (_, reward, shortest) => {
    const distribution = {
      shape,
      mean: new Float32Array(1024),
      std: Float32Array.of(1),
      weights: Float32Array.of(1),
    };
    const bytes = encodePolicy(distribution, { prompt: 'a red cat', reward });
    const headers = { 'content-type': 'application/octet-stream' };
    const { id, reward: stored } = await readOk(await api.post('/v1/policies', bytes, headers), 201);
    expect(stored).toEqual(shortest);
    expect((await readOk(await api.post(`/v1/policies/${id}/samples`), 202)).reward).toEqual(shortest);
    for (const other of [null, 'stickers-reward'])
      expect(
        (await readOk(await api.post(`/v1/policies/${id}/samples`, { reward: other }), 202)).reward,
      ).toBe(other);
    const refused = await api.post(`/v1/policies/${id}/samples`, { reward: 'taste' });
    expect((await expectProblem(refused, 422, 'unknown-reward')).errors?.[0].pointer).toBe('/reward');
  });

  it('are downloaded byte for byte, with immutable caching', async () => {
    const response = await api.get(`${path}/parameters`);
    expect(Buffer.from(await response.arrayBuffer()).equals(file)).toBe(true);
    expect(response.headers.get('content-type')).toBe('application/octet-stream');
    expect(response.headers.get('content-disposition')).toBe(
      `attachment; filename="${policy.id}.safetensors"`,
    );
    expect(response.headers.get('cache-control')).toMatch(/immutable/);
    const etag = String(response.headers.get('etag'));
    expect(etag).toBe(`"${policy.sha256}"`);
    const again = await api.get(`${path}/parameters`, { 'if-none-match': `"other", ${etag}` });
    expect([again.status, await again.text()]).toEqual([304, '']);
    expect(again.headers.get('etag')).toBe(etag);
    for (const name of ['content-type', 'content-length', 'content-disposition'])
      expect(again.headers.get(name)).toBeNull();
    expect((await api.get(`${path}/parameters`, { 'if-none-match': '"other"' })).status).toBe(200);
  });

  it('refuse samples of another size', async () => {
    const { detail } = await expectProblem(
      await api.post(`${path}/samples`, { width: 128 }),
      422,
      'not-possible',
    );
    expect(detail).toMatch(/128x64.*64x64/);
  });

  it('answer 410 once deleted, as do their samples and images', async () => {
    const sample = await readOk(await api.post(`${path}/samples`, { count: 1 }), 202);
    expect(sample).toMatchObject({ policyId: policy.id, prompt: 'a red cat', sampler: { steps: 5 } });
    const image = newId('img');
    const key = `images/${image}.png`;
    const picture = await sharp({ create: { width: 8, height: 4, channels: 3, background: 'red' } })
      .png()
      .toBuffer();
    await api.blobs.put(key, picture);
    await api.store.images.create(
      {
        id: image,
        tenant: 'default',
        key,
        width: 8,
        height: 4,
        format: 'png',
        createdAt: new Date().toISOString(),
      },
      { parent: sample.id },
    );
    expect((await api.get(`/v1/images/${image}`)).status).toBe(200);

    const response = await api.send('DELETE', path);
    expect([response.status, await response.text()]).toEqual([204, '']);
    for (const gone of [path, `${path}/parameters`, `/v1/samples/${sample.id}`, `/v1/images/${image}`]) {
      const { detail } = await expectProblem(await api.get(gone), 410, 'gone');
      expect(detail).toMatch(/was deleted at \d{4}-/);
    }
    await expectProblem(await api.post(`${path}/samples`), 410, 'gone');
    await expectProblem(await api.send('DELETE', path), 410, 'gone');
    expect(await api.store.queues.has('sample', String(sample.id))).toBe(false);
    const blobs = await Array.fromAsync(api.blobs.list(''));
    expect(blobs).not.toContain(key);
    expect(blobs).not.toContain(`policies/${policy.id}.safetensors`);
    const { data } = (await readOk(await api.get('/v1/policies'), 200)) as JsonAnswer & {
      data: { id: string }[];
    };
    expect(data.map(({ id }) => id)).not.toContain(policy.id);
  });
});

describe('GET /v1/images/{id}', () => {
  const id = newId('img');
  let picture: Buffer;
  beforeAll(async () => {
    picture = await sharp({ create: { width: 64, height: 32, channels: 3, background: 'teal' } })
      .png()
      .toBuffer();
    const key = `images/${id}.png`;
    await api.blobs.put(key, picture);
    await api.store.images.create({
      id,
      key,
      width: 64,
      height: 32,
      format: 'png',
      tenant: 'default',
      createdAt: '2025-01-01T00:00:00Z',
    });
  });

  it('sends the file or a range of it, with an ETag', async () => {
    const response = await api.get(`/v1/images/${id}`);
    expect(response.headers.get('content-type')).toBe('image/png');
    expect(Buffer.from(await response.arrayBuffer()).equals(picture)).toBe(true);
    const etag = String(response.headers.get('etag'));
    expect((await api.get(`/v1/images/${id}`, { 'if-none-match': etag })).status).toBe(304);
    const part = await api.get(`/v1/images/${id}`, { range: 'bytes=2-5' });
    expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes 2-5/${picture.length}`]);
    expect(Buffer.from(await part.arrayBuffer()).equals(picture.subarray(2, 6))).toBe(true);
    const outside = await api.get(`/v1/images/${id}`, { range: 'bytes=900000-' });
    expect(outside.headers.get('content-range')).toBe(`bytes */${picture.length}`);
    await expectProblem(outside, 416, 'range-not-satisfiable');
  });

  it('scales to a width and keeps the aspect ratio', async () => {
    const response = await api.get(`/v1/images/${id}?width=16`);
    const { width, height } = await sharp(Buffer.from(await response.arrayBuffer())).metadata();
    expect([width, height]).toEqual([16, 8]);
  });

  it('is scaled once for many requests', async () => {
    const first = await api.get(`/v1/images/${id}?width=24`);
    const etag = String(first.headers.get('etag'));
    for (let i = 0; i < 3; i++)
      expect((await api.get(`/v1/images/${id}?width=24`)).headers.get('etag')).toBe(etag);
    const again = await api.get(`/v1/images/${id}?width=24`, { 'if-none-match': etag });
    expect([again.status, again.headers.get('content-type')]).toEqual([304, null]);
    await api.blobs.put(`images/${id}.png`, picture.subarray(0, 20));
    expect((await api.get(`/v1/images/${id}?width=24`)).status).toBe(200); // not read again
    await api.blobs.put(`images/${id}.png`, picture);
  });

  it('answers 404 when storage has lost the file', async () => {
    const lost = newId('img');
    const record = { key: `images/${lost}.png`, width: 1, height: 1, format: 'png' as const };
    await api.store.images.create({
      id: lost,
      tenant: 'default',
      createdAt: '2025-01-01T00:00:00Z',
      ...record,
    });
    const { detail } = await expectProblem(await api.get(`/v1/images/${lost}`), 404, 'not-found');
    expect(detail).toMatch(/not in storage.*FINDERY_DATA/);
  });
});
