import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Client } from '../../src/client/client.ts';
import type { Job } from '../../src/contract/schemas/job.ts';
import { backup } from '../../src/maintenance/backup/backup.ts';
import { restore } from '../../src/maintenance/backup/restore.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { decodeRecordFile, encodeRecordFile } from '../../src/storage/record-file.ts';
import type { Store } from '../../src/store/store.ts';
import { type RecoverableService, startRecoverableService } from '../support/recoverable-service.ts';
import type { TestService } from '../support/test-service.ts';

const REQUEST = {
  prompt: 'a green dog on the grass',
  budget: { images: 4 },
  reportDraws: 0,
  sampler: { steps: 1 },
};

let folder: string;
let recoverable: RecoverableService;
let service: TestService;
let client: Client;
let store: Store;
let blobs: FileBlobs;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-backup-'));
  recoverable = await startRecoverableService();
  ({ service, client, store, blobs } = recoverable);
});
afterAll(async () => {
  await recoverable.close();
  await rm(folder, { recursive: true, force: true });
});

/** Loses Redis and storage while API and worker run. */
async function lose(): Promise<void> {
  await recoverable.loseRedis();
  await rm(blobs.folder, { recursive: true });
}

const snapshots = (paths: readonly string[]) => Promise.all(paths.map((path) => recoverable.snapshot(path)));

const place = () => join(folder, 'backup');
const into = (from: string, force: boolean) => restore(store, blobs, new FileBlobs(from), { force });

it('a restored service gives the same answers, and its unfinished jobs the same results', async () => {
  const create = async (request: object): Promise<Job> => client.createJob({ ...REQUEST, ...request });
  const ended = await client.follow(await create({ seed: 7, samples: 1 }), () => {});
  const deleted = await client.follow(await create({ seed: 8 }), () => {});
  await fetch(new URL(`/v1/policies/${deleted.policyId}`, service.url), { method: 'DELETE' });

  // One job is copied while it runs, one while it waits.
  const running = await create({ seed: 9, budget: { images: 60 } });
  const waiting = await create({ seed: 10 });
  // What workers of one job share is made again, not copied.
  await blobs.put(`shares/${running.id}-0-1.safetensors`, Uint8Array.of(1));
  await store.redis.hset(store.keys.shares(running.id), 'evaluation', '0');
  const copied = Promise.withResolvers<object>();
  const follow = client.follow(running, (type, data) => {
    const isThird = type === 'iteration' && (data as { iteration: number }).iteration === 2;
    if (isThird)
      backup(store, blobs, new FileBlobs(place()), '2026-01-02T03:04:05Z').then(
        copied.resolve,
        copied.reject,
      );
  });
  expect(await copied.promise).toMatchObject({ kind: 'backup', createdAt: '2026-01-02T03:04:05Z' });

  const paths = [
    `/v1/jobs/${ended.id}`,
    `/v1/jobs/${ended.id}/rewards`,
    `/v1/jobs/${ended.id}/events`,
    `/v1/policies/${ended.policyId}`,
    `/v1/policies/${ended.policyId}/parameters`,
    `/v1/samples/${ended.sampleId}`,
    (await client.getSample(String(ended.sampleId))).images[0].url,
    String(ended.previewUrl),
    `/v1/policies/${deleted.policyId}`,
  ];
  const before = await snapshots(paths);
  const finals = [await follow, await client.follow(waiting, () => {})];
  const results = finals.flatMap(({ id, policyId }) => [
    `/v1/policies/${policyId}/parameters`,
    `/v1/jobs/${id}/rewards`,
  ]);
  const finished = await snapshots(results);

  // It replaces existing data only with `force`.
  await expect(into(place(), false)).rejects.toThrow(
    /Nothing was restored: Redis has records, storage has \d+ blobs, 1 workers run\..*--force/,
  );
  await lose();
  expect(await into(place(), true)).toMatchObject({ queued: 2 });
  expect(await snapshots(paths)).toEqual(before);
  expect(await store.redis.exists(store.keys.shares(running.id))).toBe(0);
  expect(await Array.fromAsync(blobs.list('shares/'))).toEqual([]);
  for (const { id, policyId, rewards } of finals) {
    const job = await client.follow(
      (await (await fetch(new URL(`/v1/jobs/${id}`, service.url))).json()) as Job,
      () => {},
    );
    expect(job).toMatchObject({ status: 'succeeded', policyId, rewards });
  }
  expect(await snapshots(results)).toEqual(finished);
}, 240_000);

it('an incomplete or damaged backup is rejected, and so is a target that is not empty', async () => {
  await expect(into(join(folder, 'none'), true)).rejects.toThrow(
    'The backup is missing or unfinished: it has no backup.json, which is written last.',
  );
  expect(await recoverable.findery('backup', place())).toMatchObject({
    output: expect.stringContaining('not empty'),
    status: 1,
  });
  const output = expect.stringMatching(/^Copied \d+ keys of Redis and \d+ blobs to /);
  expect(await recoverable.findery('backup', join(folder, 'second'))).toEqual({ output, status: 0 });
  const [key] = await Array.fromAsync(new FileBlobs(place()).list('blobs/removed/'));
  await writeFile(join(place(), key), 'something else');
  await expect(into(place(), true)).rejects.toThrow(`The blob ${key} is damaged`);
  await rm(join(place(), key));
  await expect(into(place(), true)).rejects.toThrow(/The backup lacks its blob removed\/pol_/);
  const usage = { output: expect.stringContaining('Usage: findery restore'), status: 2 };
  expect(await recoverable.findery('restore', 'http://x')).toMatchObject(usage);
}, 120_000);

it('--verify says what a backup holds and lacks; restore repeats work without results', async () => {
  await lose();
  const job = await client.follow(await client.createJob({ ...REQUEST, seed: 11, samples: 1 }), () => {});
  const from = join(folder, 'third');
  expect(await recoverable.findery('backup', from)).toMatchObject({ status: 0 });
  expect(await recoverable.findery('backup', '--verify', from)).toEqual({
    output: expect.stringMatching(
      / has 1 jobs, 1 policies, 1 samples and \d+ images, .*; no parts are missing/,
    ),
    status: 0,
  });

  // A backup without the file of a policy, as earlier releases could make one.
  const source = new FileBlobs(from);
  const file = `policies/${job.policyId}.safetensors`;
  const contents = decodeRecordFile((await source.get('backup.json')) as Uint8Array);
  const { [file]: _, ...others } = contents.blobs as Record<string, string>;
  await source.put('backup.json', encodeRecordFile({ ...contents, blobs: others }));
  const image = `blobs/images/${(await client.getSample(String(job.sampleId))).images[0].id}.png`;
  const bytes = (await source.get(image)) as Uint8Array;
  await writeFile(join(from, image), 'something else');
  const { output, status } = await recoverable.findery('backup', '--verify', from);
  expect(status).toBe(1);
  expect(output).toContain(`${job.policyId}: its file ${file} is missing.`);
  expect(output).toContain(`The blob ${image} is damaged`);
  expect(output).toContain('; 2 parts are missing or damaged');
  await source.put(image, bytes);

  const results = [`/v1/policies/${job.policyId}/parameters`, `/v1/jobs/${job.id}/rewards`];
  const before = await snapshots(results);
  await lose();
  expect(await into(from, true)).toMatchObject({ queued: 1, reopened: [job.id] });
  const again = await client.follow(job, () => {});
  expect(again).toMatchObject({ status: 'succeeded', policyId: job.policyId, sampleId: job.sampleId });
  expect(await snapshots(results)).toEqual(before);
}, 120_000);
