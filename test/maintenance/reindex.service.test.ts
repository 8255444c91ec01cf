import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Client } from '../../src/client/client.ts';
import type { Job } from '../../src/contract/schemas/job.ts';
import type { FileBlobs } from '../../src/storage/file-blobs.ts';
import type { Store } from '../../src/store/store.ts';
import { type RecoverableService, startRecoverableService } from '../support/recoverable-service.ts';
import type { TestService } from '../support/test-service.ts';

const REQUEST = {
  prompt: 'a green dog on the grass',
  seed: 7,
  budget: { images: 4 },
  reportDraws: 2,
  sampler: { steps: 1 },
};

let recoverable: RecoverableService;
let service: TestService;
let client: Client;
let store: Store;
let blobs: FileBlobs;

beforeAll(async () => {
  recoverable = await startRecoverableService();
  ({ service, client, store, blobs } = recoverable);
});
afterAll(() => recoverable.close());

const reindex = () => recoverable.findery('reindex');
const wipe = () => recoverable.loseRedis();
const snapshot = (path: string, accept?: string) => recoverable.snapshot(path, accept);

const run = async (request: object): Promise<Job> =>
  client.follow(await client.createJob({ ...REQUEST, ...request }), () => {});

const policyFile = (id: string) => `policies/${id}.safetensors`;

describe('findery reindex', { timeout: 180_000 }, () => {
  let paths: string[];
  let job: Job;
  let removed: string[];

  beforeAll(async () => {
    job = await run({ samples: 2, metadata: { team: 'a', '10': 'b', '2': 'c' } });
    const terms = [
      { name: 'stickers-reward', weight: 2 },
      { name: 'jpeg-size', weight: -0.1 },
    ];
    const weighted = await run({ reward: terms, seed: 8 });
    const plain = await run({
      seed: 9,
      reward: 'jpeg-size',
      optimizer: { name: 'best-of-n' },
      reportDraws: 0,
    });
    const canceled = await client.createJob({ ...REQUEST, budget: { images: 50_000 } });
    await fetch(new URL(canceled.urls.cancel, service.url), { method: 'POST' });
    expect((await client.follow(canceled, () => {})).status).toBe('canceled');

    const sampled = await client.sample(`/v1/policies/${job.policyId}/samples`, {
      seed: 3,
      count: 1,
      format: 'webp',
    });
    const base = await client.sample('/v1/samples', {
      prompt: 'a red book',
      seed: 4,
      count: 2,
      bestOf: 3,
      steps: 1,
    });
    const imported = await fetch(new URL('/v1/policies?prompt=a%20blue%20fish', service.url), {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: await client.bytes(`/v1/policies/${job.policyId}/parameters`),
    });
    const { id: importedId } = (await imported.json()) as { id: string };

    // Deleted records stay deleted.
    const gone = await client.sample(`/v1/policies/${weighted.policyId}/samples`, { count: 1 });
    await fetch(new URL(`/v1/policies/${weighted.policyId}`, service.url), { method: 'DELETE' });
    removed = [`/v1/policies/${weighted.policyId}`, `/v1/samples/${gone.id}`, gone.images[0].url];

    const requested = await client.getSample(String(job.sampleId));
    const images = [requested, sampled, base].flatMap((sample) => sample.images.map(({ url }) => url));
    expect(images).toHaveLength(5);
    const jobs = [job.id, weighted.id, plain.id, canceled.id].flatMap((one) => [
      `/v1/jobs/${one}`,
      ...['json', 'csv', 'svg'].map((format) => `/v1/jobs/${one}/rewards?format=${format}`),
    ]);
    paths = [
      '/v1/jobs',
      '/v1/jobs?limit=1',
      '/v1/jobs?metadata.team=a',
      '/v1/policies',
      ...jobs,
      ...[job.policyId, plain.policyId, importedId].flatMap((policy) => [
        `/v1/policies/${policy}`,
        `/v1/policies/${policy}/parameters`,
      ]),
      ...[requested, sampled, base].map((sample) => `/v1/samples/${sample.id}`),
      ...images,
      ...images.map((url) => `${url}?width=16`),
      String(job.previewUrl),
      ...removed,
    ];
  }, 180_000);

  it('restores every answer with its ETag, from storage alone', async () => {
    const before = await Promise.all(paths.map((path) => snapshot(path)));
    expect(new Set(before.map(({ status }) => status))).toEqual(new Set([200, 410]));
    await wipe();
    expect((await snapshot(paths[4])).status).toBe(404);

    const { output, status } = await reindex();
    expect(output).toMatch(
      /^Restored 4 jobs, 3 policies, 3 samples and \d+ images; \d+ deletions are remembered; 0 were known/,
    );
    expect(status).toBe(0);
    const after = await Promise.all(paths.map((path) => snapshot(path)));
    for (const [i, answer] of after.entries()) expect(answer).toEqual(before[i]);

    const followed = await client.follow(job, () => {});
    expect(followed).toEqual(job);
  });

  it('may be repeated, and does not change existing records', async () => {
    await store.jobs.change(job.id, { set: { metadata: { changed: 'since' } } });
    expect((await reindex()).output).toMatch(
      /^Restored 0 jobs, 0 policies, 0 samples and 0 images; 0 .*; 10 were known already/,
    );
    expect((await store.jobs.get(job.id)).metadata).toEqual({ changed: 'since' });
  });

  it('leaves a working service', async () => {
    const sample = await client.sample(`/v1/policies/${job.policyId}/samples`, { seed: 3, count: 1 });
    expect(sample.status).toBe('succeeded');
    await fetch(new URL(`/v1/policies/${job.policyId}`, service.url), { method: 'DELETE' });
    // Samples from before the loss of Redis are deleted with their policy.
    expect((await snapshot(`/v1/samples/${job.sampleId}`)).status).toBe(410);
  });

  it('restores a policy without a record from its file, and names what is damaged', async () => {
    const { policyId } = await run({ seed: 11 });
    const id = String(policyId);
    const path = `/v1/policies/${id}`;
    const { seconds, createdAt, ...known } = await client.getPolicy(id);
    const file = await snapshot(`${path}/parameters`);
    await rm(join(blobs.folder, 'records', `${id}.json`));
    const damaged = await run({ seed: 12 });
    const record = `records/${damaged.id}.json`;
    const text = Buffer.from((await blobs.get(record)) as Uint8Array).toString();
    await writeFile(join(blobs.folder, record), text.replace('"seed":12', '"seed":13'));
    await blobs.put(policyFile('pol_00000000000000000000000000'), Buffer.from('no policy'));

    await wipe();
    const { output, status } = await reindex();
    expect(status).toBe(1);
    expect(output).toContain(`${record}: The record is damaged: its body has the SHA-256`);
    expect(output).toContain('policies/pol_00000000000000000000000000.safetensors: it has no record');
    expect((await snapshot(`/v1/jobs/${damaged.id}`)).status).toBe(404);
    expect(await client.getPolicy(id)).toMatchObject(known);
    expect(await snapshot(`${path}/parameters`)).toEqual(file);
  });
});

describe('blobs that were changed in storage', { timeout: 180_000 }, () => {
  it('lead to an error, never to a wrong image or a sample from a wrong distribution', async () => {
    const { images } = await client.sample('/v1/samples', {
      prompt: 'a red book',
      seed: 5,
      count: 1,
      steps: 1,
    });
    const { id } = images[0];
    const path = join(blobs.folder, 'images', `${id}.png`);
    const bytes = Buffer.from((await blobs.get(`images/${id}.png`)) as Uint8Array);
    bytes[bytes.length >> 1] ^= 1;
    await writeFile(path, bytes);
    for (const url of [images[0].url, `${images[0].url}?width=16`]) {
      const { status, type, body } = await snapshot(url);
      expect([status, type]).toEqual([500, 'application/problem+json']);
      expect(JSON.parse(body)).toMatchObject({
        code: 'damaged',
        detail: expect.stringMatching(/is damaged: its \d+ bytes/),
      });
      expect(body).not.toContain(blobs.folder);
    }

    const job = await run({ seed: 13 });
    const file = Buffer.from((await blobs.get(policyFile(String(job.policyId)))) as Uint8Array);
    file[file.length - 8] ^= 1;
    await writeFile(join(blobs.folder, policyFile(String(job.policyId))), file);
    expect((await snapshot(`/v1/policies/${job.policyId}/parameters`)).status).toBe(500);
    const sampling = client.sample(`/v1/policies/${job.policyId}/samples`, { count: 1 });
    await expect(sampling).rejects.toThrow(/The blob policies\/pol_\w+\.safetensors is damaged/);
  });
});
