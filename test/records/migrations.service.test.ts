import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readArchived, recordKey } from '../../src/jobs/archive.ts';
import { currentVersion, migrate } from '../../src/records/migrations.ts';
import { fieldsOf } from '../../src/records/record-fields.ts';
import { encodeRecord } from '../../src/storage/record-file.ts';
import { expectProblem, queueJob, readOk, startTestApi, type TestApi } from '../support/service.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

/** Queues a job and makes of its record what findery 0.1.0 wrote: no version, no tenant, no report draws, no deadline, no clipSkip. */
async function queueOldJob() {
  const { id } = await queueJob(api, { seed: 3 });
  const key = api.store.keys.record(id);
  const {
    tenant: _,
    webhook: __,
    reportDraws: ___,
    deadline: ____,
    ...record
  } = await api.store.jobs.get(id);
  const { clipSkip: _____, ...sampler } = record.sampler;
  await api.store.redis.del(key);
  // Every field by itself.
  await api.store.redis.hset(key, fieldsOf({ ...record, sampler }));
  return { id, key, sampler };
}

describe('a record', () => {
  it('says its version', async () => {
    const { id } = await queueJob(api);
    expect(await api.store.redis.hget(api.store.keys.record(id), '_version')).toBe(
      String(currentVersion('job')),
    );
    expect(currentVersion('job')).toBeGreaterThanOrEqual(1);
  });

  it('from before there were versions is read, listed, and brought up to date', async () => {
    const { id, key, sampler } = await queueOldJob();
    const now = { reportDraws: 32, deadline: null, sampler: { ...sampler, clipSkip: 0 } };
    const { data } = (await readOk(await api.get('/v1/jobs?limit=1'), 200)) as unknown as { data: object[] };
    expect(data[0]).toMatchObject({ id, ...now });
    expect(await readOk(await api.get(`/v1/jobs/${id}`), 200)).toMatchObject(now);
    expect(await api.store.redis.hmget(key, '_version', 'reportDraws', 'tenant')).toEqual([
      '2',
      '32',
      '"default"',
    ]);
    expect(JSON.parse(String(await api.store.redis.hget(key, 'sampler')))).toEqual(now.sampler);
  });

  it('is not migrated over what somebody changed meanwhile', async () => {
    const { id, key } = await queueOldJob();
    const reading = api.store.jobs.find(id); // its fields are asked for
    await api.store.redis.hset(key, 'sampler', JSON.stringify({ steps: 99 }));
    await reading;
    expect(JSON.parse(String(await api.store.redis.hget(key, 'sampler')))).toMatchObject({ steps: 99 });
  });

  it('of a newer findery is a clear error, and is left alone', async () => {
    const { id } = await queueJob(api);
    const key = api.store.keys.record(id);
    await api.store.redis.hset(key, '_version', '99');
    const { detail } = await expectProblem(await api.get(`/v1/jobs/${id}`), 503, 'unavailable');
    expect(detail).toMatch(
      new RegExp(`The record ${id} has version 99; this findery reads 0 to 2.*update this one`),
    );
    expect(await api.store.redis.hget(key, '_version')).toBe('99');
    await api.store.redis.del(key);
  });

  it('in storage is migrated too, and refused when it is newer', async () => {
    const id = `smp_${randomBytes(13).toString('hex')}`;
    const write = (version: number) =>
      api.blobs.put(
        recordKey(id),
        encodeRecord({ kind: 'smp', version, record: { id, sampler: { steps: 2 } } }),
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

  it('that is up to date stays as it is', () => {
    const record = { id: 'job_1', sampler: { steps: 2 } };
    expect(migrate('job', record, currentVersion('job'))).toBe(record);
  });
});
