import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { derivedId } from '../../src/contract/ids.ts';
import type { JobRecord } from '../../src/contract/records.ts';
import { readArchived, recordKey } from '../../src/jobs/archive.ts';
import { expireOverdue } from '../../src/jobs/expire.ts';
import { retryJob } from '../../src/jobs/retry.ts';
import { reindex } from '../../src/maintenance/reindex.ts';
import type { BlobStore } from '../../src/storage/blobs.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import type { WorkerContext } from '../../workers/context.ts';
import { end } from '../../workers/end-job.ts';
import { failJobSample, openJobSample } from '../../workers/job-sample.ts';
import { Lease } from '../../workers/lease.ts';
import type { RunningJob } from '../../workers/running-job.ts';
import { queueJob, startTestApi, type TestApi } from '../support/service.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

/** The job in the hands of one more worker. */
async function takeUp(id: string, attempts: number, blobs: BlobStore = api.blobs): Promise<RunningJob> {
  const claim = new Lease(api.store.jobs, id);
  expect(await claim.take(['queued', 'running'], { set: { status: 'running', attempts } })).toBe(true);
  const context = { store: api.store, blobs, logger: pino({ level: 'silent' }) } as unknown as WorkerContext;
  return { context, lease: claim, record: await api.store.jobs.get(id) };
}

const archived = async (id: string) => (await readArchived(api.blobs, recordKey(id)))?.record;

describe('the end of a job', () => {
  it('is archived as Redis has it, with its rewards', async () => {
    const { id } = await queueJob(api);
    const job = await takeUp(id, 1);
    await job.lease.commit({ rewards: { offset: 0, iteration: 1, values: [0.5, 0.25] } });
    await end(job, 'succeeded', {}, ['running']);
    expect(await archived(id)).toEqual(await api.store.jobs.get(id));
    expect((await readArchived(api.blobs, recordKey(id)))?.rewards).toEqual(['1,0.5', '1,0.25']);
  });

  it('that comes too late, after another worker’s, leaves the archive as Redis has it', async () => {
    const { id } = await queueJob(api);
    const late = await takeUp(id, 1);
    await end(await takeUp(id, 2), 'failed', {}, ['running']);
    await expect(end(late, 'succeeded', {}, ['running'])).rejects.toMatchObject({
      name: 'Interruption',
      kind: 'lost',
    });
    expect(await archived(id)).toEqual(await api.store.jobs.get(id));
    expect(await archived(id)).toMatchObject({ status: 'failed', attempts: 2 });
  });

  it('waits for storage when it went well, and does not when it failed', async () => {
    await writeFile(join(api.folder, 'occupied'), 'a file in the place of the folder');
    const blobs = new FileBlobs(join(api.folder, 'occupied'));
    const { id } = await queueJob(api);
    const job = await takeUp(id, 1, blobs);
    await expect(end(job, 'succeeded', {}, ['running'])).rejects.toMatchObject({ name: 'BlobStoreError' });
    expect((await api.store.jobs.get(id)).status).toBe('running');
    await end(job, 'failed', {}, ['running']);
    expect((await api.store.jobs.get(id)).status).toBe('failed');
    expect(await archived(id)).toBeUndefined();
  });

  it('of a job that waited, and is canceled, is archived too', async () => {
    const { id } = await queueJob(api);
    expect((await api.post(`/v1/jobs/${id}/cancel`)).status).toBe(200);
    expect(await archived(id)).toEqual(await api.store.jobs.get(id));
  });

  it('of a job whose deadline passed while it waited is archived too, and reindexed', async () => {
    const { id } = await queueJob(api, { deadline: 60 });
    await expireOverdue(api.store, api.blobs, Date.now() + 61_000);
    expect(await archived(id)).toMatchObject({ id, status: 'expired' });
    const before = await api.store.jobs.get(id);
    await forget(id);
    await reindex(api.store, api.blobs);
    expect(await api.store.jobs.get(id)).toEqual(before);
  });
});

/** As if Redis had lost it. */
async function forget(id: string): Promise<void> {
  const { redis, keys } = api.store;
  await redis.del(keys.record(id), keys.events(id), keys.rewards(id), keys.children(id));
  await redis.zrem(keys.index('job'), id);
  await redis.zrem(keys.deadlines(), id);
}

describe('a failed job that is tried again', () => {
  /** Failed by a worker, with a checkpoint. */
  async function failed(request: object = {}): Promise<string> {
    const { id } = await queueJob(api, request);
    await api.store.queues.remove('optimize', id);
    const checkpoint = { key: `checkpoints/${id}-3-token.safetensors`, iteration: 3 };
    await end(await takeUp(id, 1), 'failed', { checkpoint }, ['running']);
    return id;
  }

  it('is not in storage as failed any more, and is with its new end', async () => {
    const id = await failed();
    expect(await archived(id)).toMatchObject({ status: 'failed', checkpoint: { iteration: 3 } });
    expect((await api.post(`/v1/jobs/${id}/retry`)).status).toBe(202);
    expect(await archived(id)).toBeUndefined();
    await end(await takeUp(id, 2), 'succeeded', {}, ['running']);
    expect(await archived(id)).toEqual(await api.store.jobs.get(id));
    expect((await api.post(`/v1/jobs/${id}/retry`)).status).toBe(409);
    expect(await archived(id)).toMatchObject({ status: 'succeeded' });
  });

  it('keeps its end in storage where two requests try it again and it fails in between', async () => {
    const id = await failed();
    const { jobs } = api.store;
    const late = { ...api.store, jobs: Object.create(jobs) as typeof jobs };
    late.jobs.change = async () => 'wrong-status';
    late.jobs.get = (one) => jobs.get(one);
    late.jobs.find = (one) => jobs.find(one);
    late.jobs.children = (one) => jobs.children(one);
    await retryJob(late, api.blobs, id, Date.now());
    expect(await archived(id)).toEqual(await jobs.get(id));
  });

  it('after a reindex goes on from its checkpoint, and its deadline counts', async () => {
    const id = await failed({ deadline: 60 });
    await forget(id);
    await reindex(api.store, api.blobs);
    expect((await api.post(`/v1/jobs/${id}/retry`)).status).toBe(202);
    expect(await api.store.jobs.get(id)).toMatchObject({ status: 'queued', checkpoint: { iteration: 3 } });
    await api.store.jobs.change(id, { set: { checkpoint: null } as Partial<JobRecord> });
    await expireOverdue(api.store, api.blobs, Date.now() + 61_000);
    expect((await api.store.jobs.get(id)).status).toBe('expired');
  });

  it('takes back that its images failed', async () => {
    const { id } = await queueJob(api, { samples: 1 });
    const job = await takeUp(id, 1);
    const sample = derivedId('smp', id);
    await openJobSample(job, derivedId('pol', id));
    await failJobSample(job, { type: '', title: '', status: 500, detail: '', code: 'internal' });
    expect(await archived(sample)).toMatchObject({ status: 'failed' });
    await openJobSample(job, derivedId('pol', id));
    expect(await archived(sample)).toBeUndefined();
  });
});
