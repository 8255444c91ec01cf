import { execFile } from 'node:child_process';
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { derivedId, newId } from '../../src/contract/ids.ts';
import { DEFAULT_TENANT } from '../../src/contract/tenants.ts';
import { recordKey } from '../../src/jobs/archive.ts';
import type { Limits } from '../../src/maintenance/sweep/retention.ts';
import { ORPHAN_AGE, sweep } from '../../src/maintenance/sweep/sweep.ts';
import { limitsFor } from '../../src/maintenance/sweep/tenant-limits.ts';
import { withLock } from '../../src/redis/lock.ts';
import { sha256Of } from '../../src/sha256.ts';
import { encodePolicy } from '../../src/storage/policy-file.ts';
import { expectProblem, PROMPT, queueJob, readOk, startTestApi, type TestApi } from '../support/service.ts';

const DAY = 86_400_000;
const NONE: Limits = { days: null, jobs: null, samples: null };

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());
beforeEach(async () => {
  const keys = await api.store.redis.keys(`${api.config.redisPrefix}:*`);
  if (keys.length > 0) await api.store.redis.del(...keys);
  for (const key of await Array.fromAsync(api.blobs.list(''))) await api.blobs.delete(key);
});

const run = (limits: Partial<Limits>, { isDry = false, now = Date.now() } = {}) =>
  sweep(api.store, api.blobs, { limitsOf: () => ({ ...NONE, ...limits }), now, isDry });
const ago = (days: number) => new Date(Date.now() - days * DAY).toISOString();

/** The command line, on the service of this test. */
function findery(keepDays: string, ...args: string[]) {
  const { path, host, port } = api.store.redis.options;
  const env = {
    ...process.env,
    REDIS_URL: path ?? `redis://${host}:${port}`,
    FINDERY_REDIS_PREFIX: api.config.redisPrefix,
    FINDERY_DATA: api.config.dataFolder,
    FINDERY_KEEP_DAYS: keepDays,
  };
  return promisify(execFile)('bin/findery', args, { env });
}

/** A job that has ended, `days` ago, with a policy and a preview. */
async function endedJob(days: number): Promise<{ job: string; policy: string; preview: string }> {
  const { id } = await queueJob(api);
  await api.store.queues.remove('optimize', id);
  const policy = derivedId('pol', id);
  const preview = newId('img');
  const record = await api.store.jobs.get(id);
  const distribution = {
    shape: [4, 16, 16],
    mean: new Float32Array(1024),
    std: Float32Array.of(1),
    weights: Float32Array.of(1),
  };
  const file = encodePolicy(distribution, { prompt: PROMPT });
  await api.blobs.put(`policies/${policy}.safetensors`, file);
  const { prompt, negativePrompt, model, reward, sampler, optimizer, seed, warnings } = record;
  await api.store.policies.create({
    id: policy,
    tenant: record.tenant,
    createdAt: ago(days),
    origin: 'job',
    jobId: id,
    distribution: { kind: 'gaussian', components: 1, shape: distribution.shape },
    summary: {},
    report: null,
    imagesSpent: 1,
    seconds: 1,
    bytes: file.byteLength,
    sha256: sha256Of(file),
    ...{ prompt, negativePrompt, model, reward, sampler, optimizer, seed, warnings },
  });
  await putImage(preview, id);
  await api.store.jobs.change(id, { set: { status: 'succeeded', finishedAt: ago(days), policyId: policy } });
  return { job: id, policy, preview };
}

async function putImage(id: string, parent: string): Promise<void> {
  const key = `images/${id}.png`;
  await api.blobs.put(key, Uint8Array.of(1));
  await api.store.images.create(
    { id, tenant: DEFAULT_TENANT, key, width: 1, height: 1, format: 'png', createdAt: ago(0) },
    { parent },
  );
}

/** A batch of samples; of the base model without a policy. */
async function sampleOf(policy: string | null, ended: number | null): Promise<string> {
  const path = policy ? `/v1/policies/${policy}/samples` : '/v1/samples';
  const { id } = await readOk(
    await api.post(path, policy ? { count: 1 } : { prompt: PROMPT, count: 1 }),
    202,
  );
  if (ended !== null) {
    await api.store.queues.remove('sample', String(id));
    await putImage(newId('img'), String(id));
    const times = { createdAt: ago(ended), finishedAt: ago(ended) };
    await api.store.samples.change(String(id), { set: { status: 'succeeded', ...times } });
  }
  return String(id);
}

const isThere = async (path: string) => (await api.get(path)).status === 200;

describe('a sweep', () => {
  it('keeps everything without limits', async () => {
    const { job, policy } = await endedJob(1000);
    const sample = await sampleOf(policy, 999);
    expect(await run({})).toMatchObject({ expired: [], orphans: [] });
    for (const path of [`/v1/jobs/${job}`, `/v1/policies/${policy}`, `/v1/samples/${sample}`]) {
      expect(await isThere(path)).toBe(true);
    }
  });

  it('deletes by age what nothing needs: afterwards it is gone, with its bytes, also when Redis is lost', async () => {
    const old = await endedJob(40);
    const used = await endedJob(40);
    const young = await endedJob(20);
    const drawn = await sampleOf(used.policy, 10);
    const forgotten = await sampleOf(null, 31);
    const swept = await run({ days: 30 });
    expect(new Set(swept?.expired.map(({ id }) => id))).toEqual(
      new Set([old.job, old.policy, used.job, forgotten]),
    );
    expect(swept?.expired.find(({ id }) => id === old.policy)?.reason).toBe('not drawn from for 30 days');
    for (const path of [
      `/v1/jobs/${old.job}`,
      `/v1/policies/${old.policy}`,
      `/v1/images/${old.preview}`,
      `/v1/samples/${forgotten}`,
    ]) {
      await expectProblem(await api.get(path), 410, 'gone');
    }
    for (const path of [
      `/v1/policies/${used.policy}`,
      `/v1/samples/${drawn}`,
      `/v1/jobs/${young.job}`,
      `/v1/policies/${young.policy}`,
    ]) {
      expect(await isThere(path), path).toBe(true);
    }
    const keys = (await Array.fromAsync(api.blobs.list(''))).join();
    for (const id of [old.job, old.policy, old.preview, forgotten]) {
      expect(keys).toContain(id === old.preview ? 'images/' : `removed/${id}.json`);
      expect(keys).not.toContain(`records/${id}.json`);
      expect(keys).not.toMatch(new RegExp(`(images|policies)/${id}`));
    }
  });

  it('deletes by count the oldest jobs with what they made, and the oldest samples', async () => {
    const jobs = [];
    for (let i = 0; i < 4; i++) jobs.push(await endedJob(0));
    const samples = [];
    for (let i = 0; i < 3; i++) samples.push(await sampleOf(jobs[3].policy, 0));
    const swept = await run({ jobs: 2, samples: 1 });
    const ids = [...jobs.slice(0, 2).flatMap(({ job, policy }) => [job, policy]), ...samples.slice(0, 2)];
    expect(new Set(swept?.expired.map(({ id }) => id))).toEqual(new Set(ids));
    expect(swept?.expired.find(({ kind }) => kind === 'job')?.reason).toBe('there are 2 newer jobs');
    expect(await isThere(`/v1/policies/${jobs[2].policy}`)).toBe(true);
    expect(await isThere(`/v1/samples/${samples[2]}`)).toBe(true);
  });

  it('never deletes what is live, nor the policy that something live draws from', async () => {
    const { job, policy } = await endedJob(400);
    const { id: queued } = await queueJob(api);
    await api.store.jobs.change(queued, { set: { createdAt: ago(400) } });
    const waiting = await sampleOf(policy, null);
    await api.store.samples.change(waiting, { set: { createdAt: ago(400) } });
    await endedJob(0);
    await run({ days: 1, jobs: 1, samples: 1 });
    for (const path of [`/v1/jobs/${queued}`, `/v1/policies/${policy}`, `/v1/samples/${waiting}`]) {
      expect(await isThere(path), path).toBe(true);
    }
    // By count, a job whose policy is needed stays with it; its age is another matter.
    expect(await isThere(`/v1/jobs/${job}`)).toBe(true);
  });

  it('counts by tenant', async () => {
    const jobs = [];
    for (const tenant of ['a', 'b', 'a']) {
      const { job } = await endedJob(0);
      await api.store.redis.hset(api.store.keys.record(job), 'tenant', JSON.stringify(tenant));
      jobs.push(job);
    }
    const limitsOf = (tenant: string) => ({ ...NONE, jobs: tenant === 'a' ? 1 : null });
    const swept = await sweep(api.store, api.blobs, { limitsOf, now: Date.now(), isDry: true });
    expect(swept?.expired.filter(({ kind }) => kind === 'job').map(({ id }) => id)).toEqual([jobs[0]]);
  });

  it('goes by what is set for a tenant, also after Redis was lost, and by nothing that it can not read', async () => {
    const { job } = await endedJob(40);
    const isKept = async () => (await api.get(`/v1/jobs/${job}`)).status === 200;
    expect((await findery('30', 'keep', DEFAULT_TENANT, '--days', 'all')).stdout).toMatch(
      /default +all +all +all/,
    );
    await findery('30', 'sweep');
    expect(await isKept()).toBe(true);
    const config = { ...api.config, keepDays: 30 };
    const limitsOf = await limitsFor(api.blobs, config);
    expect([limitsOf(DEFAULT_TENANT).days, limitsOf('other').days]).toEqual([null, 30]);
    await findery('30', 'keep', DEFAULT_TENANT, '--days', 'default');
    expect((await limitsFor(api.blobs, config))(DEFAULT_TENANT).days).toBe(30);
    await findery('', 'keep', DEFAULT_TENANT, '--days', '35');
    await api.blobs.put('tenants/other.json', Buffer.from('{"keep":{"days":"many"}}'));
    await expect(findery('', 'sweep')).rejects.toThrow(
      /tenants\/other.json in storage does not say what a tenant keeps/,
    );
    expect(await isKept()).toBe(true);
    await api.blobs.delete('tenants/other.json');
    await findery('', 'sweep');
    expect(await isKept()).toBe(false);
  });

  it('archives what has ended without being archived', async () => {
    const { job, policy } = await endedJob(0);
    const { id: waiting } = await queueJob(api);
    const swept = await run({});
    expect(new Set(swept?.archived)).toEqual(new Set([job, policy]));
    expect(await Array.fromAsync(api.blobs.list('records/'))).toEqual(
      [recordKey(job), recordKey(policy)].sort(),
    );
    expect((await run({}))?.archived).toEqual([]);
    expect(await api.blobs.get(recordKey(waiting))).toBeNull();
  });

  it('archives what is missing between records that storage has, and others that only storage has', async () => {
    const ended = [];
    for (let i = 0; i < 6; i++) {
      ended.push((await endedJob(0)).job);
      await queueJob(api);
    }
    await run({});
    const lacking = [ended[0], ended[2], ended[3], ended[5]];
    for (const id of lacking) await api.blobs.delete(recordKey(id));
    for (const id of ['job_0', 'job_z', ended[1].replace(/.$/, '')])
      await api.blobs.put(recordKey(id), Uint8Array.of(1));
    expect((await run({}, { isDry: true }))?.archived).toEqual(lacking);
    expect((await run({}))?.archived).toEqual(lacking);
    expect((await run({}))?.archived).toEqual([]);
  });

  it('asks when a policy was drawn from also those samples that go in the same sweep', async () => {
    const { policy } = await endedJob(40);
    const sample = await sampleOf(policy, 10);
    await sampleOf(null, 0);
    for (const isDry of [true, false]) {
      const swept = await run({ days: 30, samples: 1 }, { isDry });
      expect(swept?.expired.map(({ kind }) => kind)).toEqual(['job', 'sample']);
    }
    await expectProblem(await api.get(`/v1/samples/${sample}`), 410, 'gone');
    expect(await isThere(`/v1/policies/${policy}`)).toBe(true);
  });

  it('is done by one process at a time', async () => {
    const result = await withLock(api.store.redis, api.store.keys.sweep(), () => run({}));
    expect(result).toBeNull();
    expect(await run({})).not.toBeNull();
  });
});

describe('orphaned blobs', { timeout: 180_000 }, () => {
  const orphan = async (key: string, age: number) => {
    await api.blobs.put(key, Uint8Array.of(1));
    const at = (Date.now() - age) / 1000;
    await utimes(join(api.config.dataFolder, 'blobs', key), at, at);
    return key;
  };
  const old = ORPHAN_AGE + 60_000;

  it('go once they are old: stray checkpoints, pictures without a record, bytes of deleted things', async () => {
    const { id: job } = await queueJob(api);
    const checkpoint = await orphan(`checkpoints/${job}-5.safetensors`, old);
    await api.store.jobs.change(job, { set: { checkpoint: { key: checkpoint, iteration: 5 } } });
    // A failed job can be tried again from its checkpoint.
    const { id: failed } = await queueJob(api);
    const kept = await orphan(`checkpoints/${failed}-7-0b7f-4c.safetensors`, old);
    await api.store.jobs.change(failed, {
      set: { status: 'failed', checkpoint: { key: kept, iteration: 7 } },
    });
    const young = await orphan(`checkpoints/${job}-6.safetensors`, ORPHAN_AGE / 2);
    const others = await orphan('notes/mine.txt', old);
    const removed = newId('pol');
    await api.store.redis.set(api.store.keys.gone(removed), ago(1));
    const orphans = [
      await orphan(`checkpoints/${job}-4.safetensors`, old),
      await orphan(`checkpoints/${failed}-7-9a51-22.safetensors`, old),
      await orphan(`checkpoints/${newId('job')}-1.safetensors`, old),
      await orphan(`images/${newId('img')}.png`, old),
      await orphan(`policies/${removed}.safetensors`, old),
      await orphan(recordKey(removed), old),
    ];
    const swept = await run({});
    expect(new Set(swept?.orphans.map(({ key }) => key))).toEqual(new Set(orphans));
    expect(await Array.fromAsync(api.blobs.list(''))).toEqual(
      [checkpoint, kept, young, others, recordKey(failed)].sort(),
    );
  });

  it('stay while Redis does not know what storage has: it was lost, and the next step is a reindex', async () => {
    const { policy, preview } = await endedJob(0);
    await run({});
    await orphan(`images/${preview}.png`, old);
    await orphan(`policies/${policy}.safetensors`, old);
    const before = await Array.fromAsync(api.blobs.list(''));
    const keys = await api.store.redis.keys(`${api.config.redisPrefix}:*`);
    await api.store.redis.del(...keys);
    expect((await run({}))?.held).toMatch(
      /1 blobs .* stay, because Redis is empty: run findery reindex first/,
    );
    await queueJob(api);
    expect((await run({}))?.held).toMatch(/Redis does not know 3 records and policies that storage has/);
    expect(await Array.fromAsync(api.blobs.list(''))).toEqual(before);
  });

  it('are told by findery sweep --dry-run, which deletes nothing', async () => {
    const { job } = await endedJob(40);
    await run({});
    const key = await orphan(`images/${newId('img')}.png`, old);
    const before = await Array.fromAsync(api.blobs.list(''));
    const sweeping = (...options: string[]) => findery('30', 'sweep', ...options);
    const { stdout } = await sweeping('--dry-run');
    expect(stdout).toContain(`job ${job}: ended more than 30 days ago`);
    expect(stdout).toContain(`blob ${key} (1 bytes): there is no img_`);
    expect(stdout).toMatch(/Would delete 2 records and 1 orphaned blobs\.\n$/);
    expect(await Array.fromAsync(api.blobs.list(''))).toEqual(before);
    expect(await isThere(`/v1/jobs/${job}`)).toBe(true);
    expect((await sweeping()).stdout).toMatch(/Deleted 2 records and 1 orphaned blobs/);
    expect(await isThere(`/v1/jobs/${job}`)).toBe(false);
  });
});
