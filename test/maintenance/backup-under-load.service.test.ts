import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Client } from '../../src/client/client.ts';
import type { Job } from '../../src/contract/schemas/job.ts';
import { backup } from '../../src/maintenance/backup/backup.ts';
import { restore } from '../../src/maintenance/backup/restore.ts';
import { verifyBackup } from '../../src/maintenance/backup/verify.ts';
import type { BlobStore } from '../../src/storage/blobs.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { type RecoverableService, startRecoverableService } from '../support/recoverable-service.ts';
import { startTestService } from '../support/test-service.ts';

/** Jobs that wait or run at every time, so that some end while a backup is made. */
const JOBS_UNDER_WAY = 4;
const BACKUPS = 3;
/** Time that a backup takes for one blob: jobs end between the copies of records and blobs. */
const COPY_MS = 20;

let folder: string;
let source: RecoverableService;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-backup-'));
  source = await startRecoverableService();
});
afterAll(async () => {
  await source.close();
  await rm(folder, { recursive: true, force: true });
});

/** A target that is as slow as a bucket. */
class SlowBlobs extends FileBlobs {
  override async put(...parameters: Parameters<FileBlobs['put']>): Promise<void> {
    await setTimeout(COPY_MS);
    await super.put(...parameters);
  }
}

/** Ids of the jobs that were accepted and of those that have ended, in order. */
const accepted: string[] = [];
const ended: string[] = [];

/** Keeps jobs ending until it is aborted. */
async function keepBusy({ client }: RecoverableService, signal: AbortSignal): Promise<void> {
  await Promise.all(
    Array.from({ length: JOBS_UNDER_WAY }, async () => {
      while (!signal.aborted) ended.push((await client.follow(await queueSmallJob(client), () => {})).id);
    }),
  );
}

async function queueSmallJob(client: Client): Promise<Job> {
  const job = await client.createJob({
    prompt: 'a green dog on the grass',
    seed: accepted.length,
    budget: { images: 2 },
    optimizer: { name: 'best-of-n' },
    reportDraws: 0,
    samples: 1,
    sampler: { steps: 1 },
  });
  accepted.push(job.id);
  return job;
}

/** The bytes of the policy of a job and of its image; those that can't be read are null. */
async function results({ jobs, samples, images }: Store, blobs: BlobStore, id: string) {
  const { policyId, sampleId } = await jobs.get(id);
  const sample = sampleId === null ? null : await samples.find(sampleId);
  const keys = [`policies/${policyId}.safetensors`];
  for (const image of sample?.images ?? []) keys.push((await images.get(image.id)).key);
  expect(keys, id).toHaveLength(2);
  return Promise.all(keys.map(async (key) => blobs.get(key)));
}

it('a backup of a service whose jobs end all the time restores every job with its results', async () => {
  const stop = new AbortController();
  const busy = keepBusy(source, stop.signal);
  const before: { readonly accepted: string[]; readonly ended: string[] }[] = [];
  for (let i = 0; i < BACKUPS; i++) {
    await expect.poll(() => ended.length, { timeout: 60_000 }).toBeGreaterThan(2 * i);
    before.push({ accepted: [...accepted], ended: [...ended] });
    await backup(source.store, source.blobs, new SlowBlobs(join(folder, String(i))), '2026-01-02T03:04:05Z');
  }
  stop.abort();
  await busy;

  for (const [i, ids] of before.entries()) {
    const place = new FileBlobs(join(folder, String(i)));
    expect(await verifyBackup(place)).toMatchObject({ problems: [] });
    const target = await startTestService({ FINDERY_WARM: 'none' });
    try {
      const { REDIS_URL, FINDERY_REDIS_PREFIX, FINDERY_DATA } = target.environment;
      const store = await openStore(String(REDIS_URL), String(FINDERY_REDIS_PREFIX), { failFast: true });
      const blobs = new FileBlobs(join(String(FINDERY_DATA), 'blobs'));
      expect(await restore(store, blobs, place, { force: false })).toMatchObject({ reopened: [] });
      const listed = (await store.jobs.list({ limit: 1000, tenant: 'default' })).data;
      expect(listed.map(({ id }) => id)).toEqual(expect.arrayContaining(ids.accepted));
      for (const id of ids.ended) expect((await store.jobs.get(id)).status).toBe('succeeded');
      // What had ended is there with its bytes; what had not ends as it did in the service.
      const client = new Client(target.url);
      for (const { id, status } of listed)
        if (status === 'succeeded')
          expect(await results(store, blobs, id)).toEqual(await results(source.store, source.blobs, id));
      await target.startWorker();
      for (const job of listed) {
        const response = await fetch(new URL(`/v1/jobs/${job.id}`, target.url));
        expect((await client.follow((await response.json()) as Job, () => {})).status).toBe('succeeded');
        expect(await results(store, blobs, job.id)).toEqual(
          await results(source.store, source.blobs, job.id),
        );
      }
      await store.close();
    } finally {
      await target.close();
    }
  }
}, 300_000);
