import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readArchived, recordKey } from '../../src/jobs/archive.ts';
import { currentVersion, migrate } from '../../src/records/migrations.ts';
import { encodeFields } from '../../src/records/record-codec.ts';
import { encodeRecordFile } from '../../src/storage/record-file.ts';
import { expectProblem, queueJob, readOk, startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

/**
 * Enqueues a job and replaces its record by what findery 0.1.0 wrote: one field for each property,
 * without version, tenant, report draws, deadline, parallelism and clipSkip.
 */
async function queueOldJob() {
  const { id } = await queueJob(api, { seed: 3 });
  const key = api.store.keys.record(id);
  const {
    tenant: _,
    webhook: __,
    reportDraws: ___,
    deadline: ____,
    parallelism: ______,
    ...record
  } = await api.store.jobs.get(id);
  const { clipSkip: _____, ...sampler } = record.sampler;
  const { workers: _______, ...progress } = record.progress;
  await api.store.redis.del(key);
  await api.store.redis.hset(key, encodeFields({ ...record, sampler, progress }));
  return { id, key, sampler };
}

describe('a record', () => {
  it('has a version', async () => {
    const { id } = await queueJob(api);
    expect(await api.store.redis.hget(api.store.keys.record(id), '_version')).toBe(
      String(currentVersion('job')),
    );
    expect(currentVersion('job')).toBeGreaterThanOrEqual(1);
  });

  it('without a version is read, listed and upgraded', async () => {
    const { id, key, sampler } = await queueOldJob();
    const upgraded = {
      reportDraws: 32,
      deadline: null,
      parallelism: 1,
      sampler: { ...sampler, clipSkip: 0 },
      progress: { workers: 0 },
    };
    const { data } = await readOk(await api.get('/v1/jobs?limit=1'), 200);
    expect(data).toMatchObject([{ id, ...upgraded }]);
    expect(await readOk(await api.get(`/v1/jobs/${id}`), 200)).toMatchObject(upgraded);
    expect(await api.store.redis.hmget(key, '_version', 'reportDraws', 'tenant')).toEqual([
      '3',
      '32',
      '"default"',
    ]);
    expect(JSON.parse(String(await api.store.redis.hget(key, 'sampler')))).toEqual(upgraded.sampler);
  });

  it('that changed after it was read is not overwritten by its upgrade', async () => {
    const { id, key } = await queueOldJob();
    const reading = api.store.jobs.find(id); // its fields are requested
    await api.store.redis.hset(key, 'sampler', JSON.stringify({ steps: 99 }));
    await reading;
    expect(JSON.parse(String(await api.store.redis.hget(key, 'sampler')))).toMatchObject({ steps: 99 });
  });

  it('of a newer findery is answered with 503, and stays as it is', async () => {
    const { id } = await queueJob(api);
    const key = api.store.keys.record(id);
    await api.store.redis.hset(key, '_version', '99');
    const { detail } = await expectProblem(await api.get(`/v1/jobs/${id}`), 503, 'unavailable');
    expect(detail).toMatch(
      new RegExp(`The record ${id} has version 99; this findery reads 0 to 3.*update this one`),
    );
    expect(await api.store.redis.hget(key, '_version')).toBe('99');
    await api.store.redis.del(key);
  });

  it('in storage is upgraded too, and refused when it is newer', async () => {
    const id = `smp_${randomBytes(13).toString('hex')}`;
    const write = (version: number) =>
      api.blobs.put(
        recordKey(id),
        encodeRecordFile({ kind: 'smp', version, record: { id, sampler: { steps: 2 } } }),
      );
    await write(0);
    expect((await readArchived(api.blobs, recordKey(id)))?.record).toEqual({
      id,
      tenant: 'default',
      sampler: { steps: 2, clipSkip: 0 },
    });
    await write(2);
    await expect(readArchived(api.blobs, recordKey(id))).rejects.toThrow(
      /has version 2; this findery reads 0 to 1/,
    );
    await api.blobs.delete(recordKey(id));
  });

  it('of the current version is not changed', () => {
    const record = { id: 'job_1', sampler: { steps: 2 } };
    expect(migrate('job', record, currentVersion('job'))).toBe(record);
  });
});
