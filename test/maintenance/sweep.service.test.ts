import { describe, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import { DEFAULT_TENANT } from '../../src/contract/tenants.ts';
import { archiveRemoval, REMOVAL_PREFIX, recordKey, removalKey } from '../../src/jobs/archive.ts';
import { readLimits } from '../../src/maintenance/sweep/retention-limits.ts';
import { sweep } from '../../src/maintenance/sweep/sweep.ts';
import { withLock } from '../../src/redis/lock.ts';
import {
  createEndedJob,
  createSample,
  daysAgo,
  findery,
  NO_RETENTION_LIMITS,
  setUpSweepApi,
} from '../support/sweep-api.ts';
import { expectProblem, queueJob } from '../support/test-api.ts';

const context = setUpSweepApi();

describe('a sweep', () => {
  it('deletes nothing without limits', async () => {
    const { job, policy } = await createEndedJob(context.api, 1000);
    const sample = await createSample(context.api, policy, 999);
    expect(await context.sweep({})).toMatchObject({ expired: [], orphans: [] });
    for (const path of [`/v1/jobs/${job}`, `/v1/policies/${policy}`, `/v1/samples/${sample}`]) {
      expect(await context.isThere(path)).toBe(true);
    }
  });

  it('deletes notes of deletions after 90 days, unless storage still has a record', async () => {
    const { blobs, store } = context.api;
    const at = daysAgo(91);
    const [gone, left] = [newId('smp'), newId('smp')];
    for (const id of [gone, left]) await archiveRemoval(blobs, { id, at, ids: [] });
    await blobs.put(recordKey(left), new Uint8Array(8));
    const notes = async () => (await Array.fromAsync(blobs.list(REMOVAL_PREFIX))).sort();
    const options = { limitsOf: () => NO_RETENTION_LIMITS, isDry: false };
    await sweep(store, blobs, { ...options, now: Date.now() + 89 * 86_400_000 });
    expect(await notes()).toEqual(expect.arrayContaining([removalKey(gone), removalKey(left)]));
    const now = Date.now() + 91 * 86_400_000;
    expect((await sweep(store, blobs, { ...options, now, isDry: true }))?.notes).toContain(removalKey(gone));
    expect((await sweep(store, blobs, { ...options, now }))?.notes).not.toContain(removalKey(left));
    expect(await notes()).toEqual([removalKey(left)]);
    await blobs.delete(recordKey(left));
  });

  it('deletes old records that nothing needs, with their blobs, and notes the deletions', async () => {
    const old = await createEndedJob(context.api, 40);
    const used = await createEndedJob(context.api, 40);
    const young = await createEndedJob(context.api, 20);
    const recent = await createSample(context.api, used.policy, 10);
    const unused = await createSample(context.api, null, 31);
    const swept = await context.sweep({ days: 30 });
    expect(new Set(swept?.expired.map(({ id }) => id))).toEqual(
      new Set([old.job, old.policy, used.job, unused]),
    );
    expect(swept?.expired.find(({ id }) => id === old.policy)?.reason).toBe('not sampled from for 30 days');
    for (const path of [
      `/v1/jobs/${old.job}`,
      `/v1/policies/${old.policy}`,
      `/v1/images/${old.preview}`,
      `/v1/samples/${unused}`,
    ]) {
      await expectProblem(await context.api.get(path), 410, 'gone');
    }
    for (const path of [
      `/v1/policies/${used.policy}`,
      `/v1/samples/${recent}`,
      `/v1/jobs/${young.job}`,
      `/v1/policies/${young.policy}`,
    ]) {
      expect(await context.isThere(path), path).toBe(true);
    }
    const keys = (await Array.fromAsync(context.api.blobs.list(''))).join();
    for (const id of [old.job, old.policy, old.preview, unused]) {
      expect(keys).toContain(id === old.preview ? 'images/' : `removed/${id}.json`);
      expect(keys).not.toContain(`records/${id}.json`);
      expect(keys).not.toMatch(new RegExp(`(images|policies)/${id}`));
    }
  });

  it('deletes by number the oldest jobs with their policies, and the oldest samples', async () => {
    const jobs = [];
    for (let i = 0; i < 4; i++) jobs.push(await createEndedJob(context.api, 0));
    const samples = [];
    for (let i = 0; i < 3; i++) samples.push(await createSample(context.api, jobs[3].policy, 0));
    const swept = await context.sweep({ jobs: 2, samples: 1 });
    const ids = [...jobs.slice(0, 2).flatMap(({ job, policy }) => [job, policy]), ...samples.slice(0, 2)];
    expect(new Set(swept?.expired.map(({ id }) => id))).toEqual(new Set(ids));
    expect(swept?.expired.find(({ kind }) => kind === 'job')?.reason).toBe('there are 2 newer jobs');
    expect(await context.isThere(`/v1/policies/${jobs[2].policy}`)).toBe(true);
    expect(await context.isThere(`/v1/samples/${samples[2]}`)).toBe(true);
  });

  it('never deletes unfinished work, nor a policy that unfinished work samples from', async () => {
    const { job, policy } = await createEndedJob(context.api, 400);
    const { id: queued } = await queueJob(context.api);
    await context.api.store.jobs.change(queued, { set: { createdAt: daysAgo(400) } });
    const waiting = await createSample(context.api, policy, null);
    await context.api.store.samples.change(waiting, { set: { createdAt: daysAgo(400) } });
    await createEndedJob(context.api, 0);
    await context.sweep({ days: 1, jobs: 1, samples: 1 });
    for (const path of [`/v1/jobs/${queued}`, `/v1/policies/${policy}`, `/v1/samples/${waiting}`]) {
      expect(await context.isThere(path), path).toBe(true);
    }
    // A job beyond the number stays as long as its policy is needed. The age does not protect it.
    expect(await context.isThere(`/v1/jobs/${job}`)).toBe(true);
  });

  it('counts for each tenant', async () => {
    const jobs = [];
    for (const tenant of ['a', 'b', 'a']) {
      const { job } = await createEndedJob(context.api, 0);
      await context.api.store.redis.hset(
        context.api.store.keys.record(job),
        'tenant',
        JSON.stringify(tenant),
      );
      jobs.push(job);
    }
    const limitsOf = (tenant: string) => ({ ...NO_RETENTION_LIMITS, jobs: tenant === 'a' ? 1 : null });
    const swept = await sweep(context.api.store, context.api.blobs, {
      limitsOf,
      now: Date.now(),
      isDry: true,
    });
    expect(swept?.expired.filter(({ kind }) => kind === 'job').map(({ id }) => id)).toEqual([jobs[0]]);
  });

  it('applies the limits of a tenant, and deletes nothing if they are invalid', async () => {
    const { job } = await createEndedJob(context.api, 40);
    const exists = () => context.isThere(`/v1/jobs/${job}`);
    expect((await findery(context.api, '30', 'keep', DEFAULT_TENANT, '--days', 'all')).stdout).toMatch(
      /default +all +all +all/,
    );
    await findery(context.api, '30', 'sweep');
    expect(await exists()).toBe(true);
    const config = { ...context.api.config, keepDays: 30 };
    const limitsOf = await readLimits(context.api.blobs, config);
    expect([limitsOf(DEFAULT_TENANT).days, limitsOf('other').days]).toEqual([null, 30]);
    await findery(context.api, '30', 'keep', DEFAULT_TENANT, '--days', 'default');
    expect((await readLimits(context.api.blobs, config))(DEFAULT_TENANT).days).toBe(30);
    await findery(context.api, '', 'keep', DEFAULT_TENANT, '--days', '35');
    await context.api.blobs.put('tenants/other.json', Buffer.from('{"keep":{"days":"many"}}'));
    await expect(findery(context.api, '', 'sweep')).rejects.toThrow(
      /tenants\/other.json in storage does not hold valid retention limits/,
    );
    expect(await exists()).toBe(true);
    await context.api.blobs.delete('tenants/other.json');
    await findery(context.api, '', 'sweep');
    expect(await exists()).toBe(false);
  });

  it('archives ended records that are not archived', async () => {
    const { job, policy } = await createEndedJob(context.api, 0);
    const { id: waiting } = await queueJob(context.api);
    const swept = await context.sweep({});
    expect(new Set(swept?.archived)).toEqual(new Set([job, policy]));
    expect(await Array.fromAsync(context.api.blobs.list('records/'))).toEqual(
      [recordKey(job), recordKey(policy)].sort(),
    );
    expect((await context.sweep({}))?.archived).toEqual([]);
    expect(await context.api.blobs.get(recordKey(waiting))).toBeNull();
  });

  it('finds unarchived records between archived ones and records that only the archive has', async () => {
    const ended = [];
    for (let i = 0; i < 6; i++) {
      ended.push((await createEndedJob(context.api, 0)).job);
      await queueJob(context.api);
    }
    await context.sweep({});
    const missing = [ended[0], ended[2], ended[3], ended[5]];
    for (const id of missing) await context.api.blobs.delete(recordKey(id));
    for (const id of ['job_0', 'job_z', ended[1].replace(/.$/, '')])
      await context.api.blobs.put(recordKey(id), Uint8Array.of(1));
    expect((await context.sweep({}, { isDry: true }))?.archived).toEqual(missing);
    expect((await context.sweep({}))?.archived).toEqual(missing);
    expect((await context.sweep({}))?.archived).toEqual([]);
  });

  it('counts samples that the same sweep deletes as uses of their policy', async () => {
    const { policy } = await createEndedJob(context.api, 40);
    const sample = await createSample(context.api, policy, 10);
    await createSample(context.api, null, 0);
    for (const isDry of [true, false]) {
      const swept = await context.sweep({ days: 30, samples: 1 }, { isDry });
      expect(swept?.expired.map(({ kind }) => kind)).toEqual(['job', 'sample']);
    }
    await expectProblem(await context.api.get(`/v1/samples/${sample}`), 410, 'gone');
    expect(await context.isThere(`/v1/policies/${policy}`)).toBe(true);
  });

  it('runs in one process at a time', async () => {
    const result = await withLock(context.api.store.redis, context.api.store.keys.sweepLock(), () =>
      context.sweep({}),
    );
    expect(result).toBeNull();
    expect(await context.sweep({})).not.toBeNull();
  });
});
