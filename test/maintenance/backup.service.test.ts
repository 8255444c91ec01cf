import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Client } from '../../src/client/client.ts';
import type { Job } from '../../src/contract/schemas/job.ts';
import { backup } from '../../src/maintenance/backup/backup.ts';
import { restore } from '../../src/maintenance/backup/restore.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import type { Store } from '../../src/store/store.ts';
import type { TestService } from '../support/processes.ts';
import { type KeptService, startKeptService } from '../support/stored-state.ts';

const REQUEST = {
  prompt: 'a green dog on the grass',
  budget: { images: 4 },
  reportDraws: 0,
  sampler: { steps: 1 },
};

let folder: string;
let kept: KeptService;
let service: TestService;
let client: Client;
let store: Store;
let blobs: FileBlobs;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-backup-'));
  kept = await startKeptService();
  ({ service, client, store, blobs } = kept);
});
afterAll(async () => {
  await kept.close();
  await rm(folder, { recursive: true, force: true });
});

/** Everything is lost, Redis and storage; API and worker go on. */
async function lose(): Promise<void> {
  await kept.wipe();
  await rm(blobs.folder, { recursive: true });
}

const lookAt = (paths: readonly string[]) => Promise.all(paths.map((path) => kept.look(path)));

const place = () => join(folder, 'backup');
const into = (from: string, force: boolean) => restore(store, blobs, new FileBlobs(from), { force });

it('a service that runs is copied and put back: same answers, and what was not finished ends with the same bytes', async () => {
  const create = async (request: object): Promise<Job> => client.createJob({ ...REQUEST, ...request });
  const ended = await client.follow(await create({ seed: 7, samples: 1 }), () => {});
  const deleted = await client.follow(await create({ seed: 8 }), () => {});
  await fetch(new URL(`/v1/policies/${deleted.policyId}`, service.url), { method: 'DELETE' });

  // One is copied while it runs, one while it waits.
  const running = await create({ seed: 9, budget: { images: 60 } });
  const waiting = await create({ seed: 10 });
  const copied = Promise.withResolvers<object>();
  const follow = client.follow(running, (type, data) => {
    const isTime = type === 'iteration' && (data as { iteration: number }).iteration === 2;
    if (isTime)
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
  const before = await lookAt(paths);
  const finals = [await follow, await client.follow(waiting, () => {})];
  const results = finals.flatMap(({ id, policyId }) => [
    `/v1/policies/${policyId}/parameters`,
    `/v1/jobs/${id}/rewards`,
  ]);
  const finished = await lookAt(results);

  // Over something it goes only when asked to.
  await expect(into(place(), false)).rejects.toThrow(
    /Nothing was restored: Redis has records, storage has \d+ blobs, 1 workers run\..*--force/,
  );
  await lose();
  expect(await into(place(), true)).toMatchObject({ queued: 2 });
  expect(await lookAt(paths)).toEqual(before);
  for (const { id, policyId, rewards } of finals) {
    const job = await client.follow(
      (await (await fetch(new URL(`/v1/jobs/${id}`, service.url))).json()) as Job,
      () => {},
    );
    expect(job).toMatchObject({ status: 'succeeded', policyId, rewards });
  }
  expect(await lookAt(results)).toEqual(finished);
}, 240_000);

it('a backup that is not whole is refused, and so is one over another', async () => {
  await expect(into(join(folder, 'none'), true)).rejects.toThrow(
    'There is no finished backup: backup.json, which is written last, is not there.',
  );
  expect(await kept.findery('backup', place())).toMatchObject({
    said: expect.stringContaining('not empty'),
    status: 1,
  });
  const said = expect.stringMatching(/^Copied \d+ keys of Redis and \d+ blobs to /);
  expect(await kept.findery('backup', join(folder, 'second'))).toEqual({ said, status: 0 });
  const [key] = await Array.fromAsync(new FileBlobs(place()).list('blobs/removed/'));
  await writeFile(join(place(), key), 'something else');
  await expect(into(place(), true)).rejects.toThrow(`The blob ${key} is damaged`);
  await rm(join(place(), key));
  await expect(into(place(), true)).rejects.toThrow(/The backup lacks its blob removed\/pol_/);
  const usage = { said: expect.stringContaining('Usage: findery restore'), status: 2 };
  expect(await kept.findery('restore', 'http://x')).toMatchObject(usage);
}, 120_000);
