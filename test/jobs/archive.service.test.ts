import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { derivedId } from '../../src/contract/ids.ts';
import type { JobRecord } from '../../src/contract/records.ts';
import { readArchived, recordKey } from '../../src/jobs/archive.ts';
import { expireOverdue } from '../../src/jobs/expire.ts';
import { retryJob } from '../../src/jobs/lifecycle.ts';
import { reindex } from '../../src/maintenance/reindex.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { endJob } from '../../workers/end-job.ts';
import { failJobSample, openJobSample } from '../../workers/job-sample.ts';
import { takeJob } from '../support/take-job.ts';
import { queueJob, startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

const archived = async (id: string) => (await readArchived(api.blobs, recordKey(id)))?.record;

describe('the end of a job', () => {
  it('is archived as Redis has it, with its rewards', async () => {
    const { id } = await queueJob(api);
    const job = await takeJob(api, id, { attempts: 1 });
    await job.lease.commit({ rewards: { offset: 0, iteration: 1, values: [0.5, 0.25] } });
    await endJob(job, 'succeeded', {}, ['running']);
    expect(await archived(id)).toEqual(await api.store.jobs.get(id));
    expect((await readArchived(api.blobs, recordKey(id)))?.rewards).toEqual(['1,0.5', '1,0.25']);
  });

  it('that comes after another worker’s end leaves the archive as Redis has it', async () => {
    const { id } = await queueJob(api);
    const late = await takeJob(api, id, { attempts: 1 });
    await endJob(await takeJob(api, id, { attempts: 2 }), 'failed', {}, ['running']);
    await expect(endJob(late, 'succeeded', {}, ['running'])).rejects.toMatchObject({
      name: 'Interruption',
      kind: 'lost',
    });
    expect(await archived(id)).toEqual(await api.store.jobs.get(id));
    expect(await archived(id)).toMatchObject({ status: 'failed', attempts: 2 });
  });

  it('waits for storage if the job succeeded, and does not if it failed', async () => {
    await writeFile(join(api.folder, 'occupied'), 'a file in the place of the folder');
    const blobs = new FileBlobs(join(api.folder, 'occupied'));
    const { id } = await queueJob(api);
    const job = await takeJob({ store: api.store, blobs }, id, { attempts: 1 });
    await expect(endJob(job, 'succeeded', {}, ['running'])).rejects.toMatchObject({ name: 'BlobStoreError' });
    expect((await api.store.jobs.get(id)).status).toBe('running');
    await endJob(job, 'failed', {}, ['running']);
    expect((await api.store.jobs.get(id)).status).toBe('failed');
    expect(await archived(id)).toBeUndefined();
  });

  it('is archived for a job that is canceled while it waits', async () => {
    const { id } = await queueJob(api);
    expect((await api.post(`/v1/jobs/${id}/cancel`)).status).toBe(200);
    expect(await archived(id)).toEqual(await api.store.jobs.get(id));
  });

  it('is archived and reindexed for a job whose deadline passes while it waits', async () => {
    const { id } = await queueJob(api, { deadline: 60 });
    await expireOverdue(api.store, api.blobs, Date.now() + 61_000);
    expect(await archived(id)).toMatchObject({ id, status: 'expired' });
    const before = await api.store.jobs.get(id);
    await forget(id);
    await reindex(api.store, api.blobs);
    expect(await api.store.jobs.get(id)).toEqual(before);
  });
});

/** Deletes the job from Redis, as a loss of Redis would. */
async function forget(id: string): Promise<void> {
  const { redis, keys } = api.store;
  await redis.del(keys.record(id), keys.events(id), keys.rewards(id), keys.children(id));
  await redis.zrem(keys.index('job'), id);
  await redis.zrem(keys.deadlines(), id);
}

describe('a retried job', () => {
  /** A job that a worker has failed, with a checkpoint. */
  async function createFailedJob(request: object = {}): Promise<string> {
    const { id } = await queueJob(api, request);
    await api.store.queues.remove('optimize', id);
    const checkpoint = { key: `checkpoints/${id}-3-token.safetensors`, iteration: 3 };
    await endJob(await takeJob(api, id, { attempts: 1 }), 'failed', { checkpoint }, ['running']);
    return id;
  }

  it('loses its archived failure, and its new end is archived', async () => {
    const id = await createFailedJob();
    expect(await archived(id)).toMatchObject({ status: 'failed', checkpoint: { iteration: 3 } });
    expect((await api.post(`/v1/jobs/${id}/retry`)).status).toBe(202);
    expect(await archived(id)).toBeUndefined();
    await endJob(await takeJob(api, id, { attempts: 2 }), 'succeeded', {}, ['running']);
    expect(await archived(id)).toEqual(await api.store.jobs.get(id));
    expect((await api.post(`/v1/jobs/${id}/retry`)).status).toBe(409);
    expect(await archived(id)).toMatchObject({ status: 'succeeded' });
  });

  it('keeps its archived end if it fails again between two concurrent requests', async () => {
    const id = await createFailedJob();
    const { jobs } = api.store;
    const late = { ...api.store, jobs: Object.create(jobs) as typeof jobs };
    late.jobs.change = async () => 'wrong-status';
    late.jobs.get = (one) => jobs.get(one);
    late.jobs.find = (one) => jobs.find(one);
    late.jobs.children = (one) => jobs.children(one);
    await retryJob(late, api.blobs, id, Date.now());
    expect(await archived(id)).toEqual(await jobs.get(id));
  });

  it('continues from its checkpoint after a reindex, and its deadline still holds', async () => {
    const id = await createFailedJob({ deadline: 60 });
    await forget(id);
    await reindex(api.store, api.blobs);
    expect((await api.post(`/v1/jobs/${id}/retry`)).status).toBe(202);
    expect(await api.store.jobs.get(id)).toMatchObject({ status: 'queued', checkpoint: { iteration: 3 } });
    await api.store.jobs.change(id, { set: { checkpoint: null } as Partial<JobRecord> });
    await expireOverdue(api.store, api.blobs, Date.now() + 61_000);
    expect((await api.store.jobs.get(id)).status).toBe('expired');
  });

  it('takes back the failure of its samples', async () => {
    const { id } = await queueJob(api, { samples: 1 });
    const job = await takeJob(api, id, { attempts: 1 });
    const sample = derivedId('smp', id);
    await openJobSample(job, derivedId('pol', id));
    await failJobSample(job, { type: '', title: '', status: 500, detail: '', code: 'internal' });
    expect(await archived(sample)).toMatchObject({ status: 'failed' });
    await openJobSample(job, derivedId('pol', id));
    expect(await archived(sample)).toBeUndefined();
  });
});
