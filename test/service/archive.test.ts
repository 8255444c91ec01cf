import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readArchived, recordKey } from '../../src/jobs/archive.ts';
import type { BlobStore } from '../../src/storage/blobs.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { Claim } from '../../workers/claim.ts';
import type { WorkerContext } from '../../workers/context.ts';
import { end } from '../../workers/end-job.ts';
import type { RunningJob } from '../../workers/running-job.ts';
import { queueJob, startTestApi, type TestApi } from './support.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

/** The job in the hands of one more worker. */
async function takeUp(id: string, attempts: number, blobs: BlobStore = api.blobs): Promise<RunningJob> {
  const claim = new Claim(api.store.jobs, id);
  expect(await claim.take(['queued', 'running'], { set: { status: 'running', attempts } })).toBe(true);
  const context = { store: api.store, blobs, logger: pino({ level: 'silent' }) } as unknown as WorkerContext;
  return { context, claim, record: await api.store.jobs.get(id) };
}

const archived = async (id: string) => (await readArchived(api.blobs, recordKey(id)))?.record;

describe('the end of a job', () => {
  it('is archived as Redis has it, with its rewards', async () => {
    const { id } = await queueJob(api);
    const job = await takeUp(id, 1);
    await job.claim.commit({ rewards: { offset: 0, iteration: 1, values: [0.5, 0.25] } });
    await end(job, 'succeeded', {});
    expect(await archived(id)).toEqual(await api.store.jobs.get(id));
    expect((await readArchived(api.blobs, recordKey(id)))?.rewards).toEqual(['1,0.5', '1,0.25']);
  });

  it('that comes too late, after another worker’s, leaves the archive as Redis has it', async () => {
    const { id } = await queueJob(api);
    const late = await takeUp(id, 1);
    await end(await takeUp(id, 2), 'failed', {});
    await expect(end(late, 'succeeded', {})).rejects.toMatchObject({ name: 'Interruption', kind: 'lost' });
    expect(await archived(id)).toEqual(await api.store.jobs.get(id));
    expect(await archived(id)).toMatchObject({ status: 'failed', attempts: 2 });
  });

  it('waits for storage when it went well, and does not when it failed', async () => {
    await writeFile(join(api.folder, 'occupied'), 'a file in the place of the folder');
    const blobs = new FileBlobs(join(api.folder, 'occupied'));
    const { id } = await queueJob(api);
    const job = await takeUp(id, 1, blobs);
    await expect(end(job, 'succeeded', {})).rejects.toMatchObject({ name: 'BlobStoreError' });
    expect((await api.store.jobs.get(id)).status).toBe('running');
    await end(job, 'failed', {});
    expect((await api.store.jobs.get(id)).status).toBe('failed');
    expect(await archived(id)).toBeUndefined();
  });

  it('of a job that waited, and is canceled, is archived too', async () => {
    const { id } = await queueJob(api);
    expect((await api.post(`/v1/jobs/${id}/cancel`)).status).toBe(200);
    expect(await archived(id)).toEqual(await api.store.jobs.get(id));
  });
});
