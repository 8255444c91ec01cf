import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Client } from '../../src/client/client.ts';
import type { Job } from '../../src/contract/schemas/job.ts';
import type { FileBlobs } from '../../src/storage/file-blobs.ts';
import type { Store } from '../../src/store/store.ts';
import type { TestService } from '../support/processes.ts';
import { type KeptService, startKeptService } from '../support/stored-state.ts';

const REQUEST = {
  prompt: 'a green dog on the grass',
  seed: 7,
  budget: { images: 4 },
  reportDraws: 2,
  sampler: { steps: 1 },
};

let kept: KeptService;
let service: TestService;
let client: Client;
let store: Store;
let blobs: FileBlobs;

beforeAll(async () => {
  kept = await startKeptService();
  ({ service, client, store, blobs } = kept);
});
afterAll(() => kept.close());

const reindex = () => kept.findery('reindex');
const wipe = () => kept.wipe();
const look = (path: string, accept?: string) => kept.look(path, accept);

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
    const weighed = await run({ reward: terms, seed: 8 });
    const plain = await run({
      seed: 9,
      reward: 'jpeg-size',
      optimizer: { name: 'best-of-n' },
      reportDraws: 0,
    });
    const canceled = await client.createJob({ ...REQUEST, budget: { images: 50_000 } });
    await fetch(new URL(canceled.urls.cancel, service.url), { method: 'POST' });
    expect((await client.follow(canceled, () => {})).status).toBe('canceled');

    const drawn = await client.sample(`/v1/policies/${job.policyId}/samples`, {
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

    // Deleted things stay deleted.
    const gone = await client.sample(`/v1/policies/${weighed.policyId}/samples`, { count: 1 });
    await fetch(new URL(`/v1/policies/${weighed.policyId}`, service.url), { method: 'DELETE' });
    removed = [`/v1/policies/${weighed.policyId}`, `/v1/samples/${gone.id}`, gone.images[0].url];

    const asked = await client.getSample(String(job.sampleId));
    const images = [asked, drawn, base].flatMap((sample) => sample.images.map(({ url }) => url));
    expect(images).toHaveLength(5);
    const jobs = [job.id, weighed.id, plain.id, canceled.id].flatMap((one) => [
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
      ...[asked, drawn, base].map((sample) => `/v1/samples/${sample.id}`),
      ...images,
      ...images.map((url) => `${url}?width=16`),
      String(job.previewUrl),
      ...removed,
    ];
  }, 180_000);

  it('brings back every answer with its ETag, from storage alone', async () => {
    const before = await Promise.all(paths.map((path) => look(path)));
    expect(new Set(before.map(({ status }) => status))).toEqual(new Set([200, 410]));
    await wipe();
    expect((await look(paths[4])).status).toBe(404);

    const { said, status } = await reindex();
    expect(said).toMatch(
      /^Restored 4 jobs, 3 policies, 3 samples and \d+ images; \d+ deletions are remembered; 0 were known/,
    );
    expect(status).toBe(0);
    const after = await Promise.all(paths.map((path) => look(path)));
    for (const [i, answer] of after.entries()) expect(answer).toEqual(before[i]);

    const followed = await client.follow(job, () => {});
    expect(followed).toEqual(job);
  });

  it('may be run again, and leaves what Redis knows alone', async () => {
    await store.jobs.change(job.id, { set: { metadata: { changed: 'since' } } });
    expect((await reindex()).said).toMatch(
      /^Restored 0 jobs, 0 policies, 0 samples and 0 images; 0 .*; 10 were known already/,
    );
    expect((await store.jobs.get(job.id)).metadata).toEqual({ changed: 'since' });
  });

  it('leaves a service that works on', async () => {
    const sample = await client.sample(`/v1/policies/${job.policyId}/samples`, { seed: 3, count: 1 });
    expect(sample.status).toBe('succeeded');
    await fetch(new URL(`/v1/policies/${job.policyId}`, service.url), { method: 'DELETE' });
    // Also what was drawn before Redis was lost goes with the policy.
    expect((await look(`/v1/samples/${job.sampleId}`)).status).toBe(410);
  });

  it('takes a policy from its file where its record was lost, and names what it can’t use', async () => {
    const kept = await run({ seed: 11 });
    const id = String(kept.policyId);
    const path = `/v1/policies/${id}`;
    const { seconds, createdAt, ...known } = await client.getPolicy(id);
    const file = await look(`${path}/parameters`);
    await rm(join(blobs.folder, 'records', `${id}.json`));
    const damaged = await run({ seed: 12 });
    const record = `records/${damaged.id}.json`;
    const text = Buffer.from((await blobs.get(record)) as Uint8Array).toString();
    await writeFile(join(blobs.folder, record), text.replace('"seed":12', '"seed":13'));
    await blobs.put(policyFile('pol_00000000000000000000000000'), Buffer.from('no policy'));

    await wipe();
    const { said, status } = await reindex();
    expect(status).toBe(1);
    expect(said).toContain(`${record}: The record is damaged: its body has the SHA-256`);
    expect(said).toContain('policies/pol_00000000000000000000000000.safetensors: it has no record');
    expect((await look(`/v1/jobs/${damaged.id}`)).status).toBe(404);
    expect(await client.getPolicy(id)).toMatchObject(known);
    expect(await look(`${path}/parameters`)).toEqual(file);
  });
});

describe('bytes that were changed in storage', { timeout: 180_000 }, () => {
  it('are a clear error, not a wrong picture, and not a sample from a wrong distribution', async () => {
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
      const { status, type, body } = await look(url);
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
    expect((await look(`/v1/policies/${job.policyId}/parameters`)).status).toBe(500);
    const drawn = client.sample(`/v1/policies/${job.policyId}/samples`, { count: 1 });
    await expect(drawn).rejects.toThrow(/The blob policies\/pol_\w+\.safetensors is damaged/);
  });
});
