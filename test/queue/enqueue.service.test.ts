import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import { JobSettings } from '../../src/contract/schemas/job.ts';
import { submitJob } from '../../src/jobs/submit.ts';
import { BULLMQ_VERSION } from '../../src/queue/bullmq-keys.ts';
import { BEGINNING, readEvents } from '../../src/records/events.ts';
import { scopeStore, type TenantStore } from '../../src/store/store.ts';
import { NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { PROMPT, queueJob, readOk, startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

/** The model of jobs that name none. */
const MODEL = 'stickers';

const entryKey = (id: string) => `${api.store.queues.prefix('optimize')}${id}`;

/**
 * What the queue has of an entry: its hash, whether it waits, and the marker that wakes workers.
 */
async function readEntry(id: string) {
  const { redis, queues } = api.store;
  const { opts, data, timestamp, ...entry } = await redis.hgetall(entryKey(id));
  return {
    ...entry,
    opts: { ...JSON.parse(opts), jobId: 'ID' },
    data: { ...JSON.parse(data), id: 'ID' },
    timestamp: Math.abs(Number(timestamp) - Date.now()) < 60_000,
    marker: await redis.zrangebyscore(`${queues.prefix('optimize')}marker`, '-inf', '+inf'),
    waits: await queues.waits('optimize', id),
  };
}

/** Submits a job with the settings of an existing one; see `submitJob`. */
async function submit(store: TenantStore, id: string) {
  const { data } = await api.store.jobs.list({ limit: 1 });
  const settings = Object.fromEntries(
    Object.entries(data[0]).filter(([name]) => name in JobSettings.properties),
  ) as JobSettings;
  return submitJob(store, settings, { id, warnings: [], requestId: 'test', now: new Date().toISOString() });
}

describe('enqueueing', () => {
  it('is written for the release of BullMQ that is installed', async () => {
    const { dependencies } = JSON.parse(await readFile('package.json', 'utf8'));
    expect(dependencies.bullmq).toBe(BULLMQ_VERSION);
  });

  it.each(['high', 'normal', 'low'] as const)(
    'writes the entry that Queue.add of BullMQ writes, priority %s',
    async (priority) => {
      const { id, tenant } = { id: newId('job'), tenant: 'default' };
      await api.store.queues.add('optimize', { id, tenant, priority, model: MODEL });
      const byBullMQ = await readEntry(id);
      await api.store.queues.remove('optimize', id);
      const mine = await queueJob(api, { priority });
      expect(await readEntry(mine.id)).toEqual(byBullMQ);
      await api.store.queues.remove('optimize', mine.id);
    },
  );

  it('keeps entries of one priority in the order of arrival, also beside those of Queue.add', async () => {
    const first = await queueJob(api);
    const second = { id: newId('job'), tenant: 'default', priority: 'normal' as const, model: MODEL };
    await api.store.queues.add('optimize', second);
    const third = await queueJob(api);
    const positions = [first, second, third].map(({ id }) => api.store.queues.position('optimize', id));
    expect(await Promise.all(positions)).toEqual([1, 2, 3]);
    expect(third.queuePosition).toBe(3);
    const best = await queueJob(api, { priority: 'high' });
    expect(best.queuePosition).toBe(1);
    for (const { id } of [first, second, third, best]) await api.store.queues.remove('optimize', id);
  });

  it('answers with the job as later reads show it, whatever characters its texts have', async () => {
    for (const body of [
      {
        prompt: '","cancelRequested":true,"x":"',
        metadata: { key: '\\"}, é\u2028' },
        priority: 'high' as const,
      },
      {
        prompt: PROMPT,
        deadline: 600,
        samples: 3,
        webhook: { url: 'https://example.com/', secret: undefined },
      },
    ]) {
      const { webhook, ...made } = await queueJob(api, body);
      const { webhook: later, ...read } = await readOk(await api.get(`/v1/jobs/${made.id}`), 200);
      expect(made).toEqual(read);
      expect(webhook === null).toBe(later === null);
      await api.store.queues.remove('optimize', String(made.id));
    }
  });

  it('changes and counts nothing when it is repeated with the same id', async () => {
    await queueJob(api);
    const limits = {
      ...NO_LIMITS,
      requestsPerMinute: null,
      queuedJobs: 1,
      imagesPerDay: 1_000_000,
      storedBytes: null,
    };
    const store = scopeStore(api.store, { tenant: 'twice', key: {}, limits });
    const id = newId('job');
    expect(await submit(store, id)).toMatchObject({ position: expect.any(Number) });
    const asked = () =>
      api.store.redis.get(api.store.keys.imagesAsked('twice', new Date().toISOString().slice(0, 10)));
    const counted = await asked();
    expect(await submit(store, id)).toBeNull();
    expect(await asked()).toBe(counted);
    await expect(submit(store, newId('job'))).rejects.toMatchObject({ code: 'quota-exceeded' });
    await expect(
      submit(scopeStore(api.store, { tenant: 'other', key: null, limits }), id),
    ).rejects.toMatchObject({
      code: 'conflict',
    });
    expect(await readEvents(api.store.redis, api.store.keys, id, BEGINNING)).toMatchObject([
      { type: 'status' },
    ]);
  });

  it('gives each entry of a batch its own answer', async () => {
    const limits = {
      ...NO_LIMITS,
      requestsPerMinute: null,
      queuedJobs: 70,
      imagesPerDay: null,
      storedBytes: null,
    };
    const store = scopeStore(api.store, { tenant: 'many', key: {}, limits });
    const ids = Array.from({ length: 120 }, () => newId('job'));
    ids[5] = ids[4];
    const outcomes = await Promise.allSettled(ids.map((id) => submit(store, id)));
    const fulfilled = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    const enqueued = fulfilled.flatMap((reading) => (reading ? [reading.record.id] : []));
    expect(fulfilled).toHaveLength(71); // one id twice
    expect(enqueued).toEqual(ids.slice(0, 71).filter((_, i) => i !== 5));
    const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
    expect(refused).toHaveLength(49);
    for (const reason of refused) expect(reason).toMatchObject({ code: 'quota-exceeded' });
    expect(await api.store.queues.waitingOf('many')).toEqual({ optimize: 70, sample: 0 });
    for (const id of enqueued) await api.store.queues.remove('optimize', id);
  });

  it('does not let one failure affect the rest of a batch', async () => {
    const { redis, keys, queues } = api.store;
    const store = scopeStore(api.store, { tenant: 'default', key: null, limits: NO_LIMITS });
    const [first, broken, last] = [newId('job'), newId('job'), newId('job')];
    await redis.set(keys.record(broken), 'no hash');
    const outcomes = await Promise.allSettled([first, broken, last].map((id) => submit(store, id)));
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(String((outcomes[1] as PromiseRejectedResult).reason)).toContain('WRONGTYPE');
    await redis.del(keys.record(broken));
    for (const id of [first, last]) expect(await queues.remove('optimize', id)).toBe(true);
  });

  it('stores the record when the queue fails, and maintenance queues it', async () => {
    const { redis, keys, queues } = api.store;
    // A counter of the wrong type: adding the entry fails after the record was written.
    await redis.rename(`${queues.prefix('optimize')}pc`, 'kept');
    await redis.hset(`${queues.prefix('optimize')}pc`, 'no', 'number');
    const job = await queueJob(api);
    expect(job).toMatchObject({ status: 'queued', queuePosition: null });
    expect(await redis.zscore(keys.unqueued(), job.id)).not.toBeNull();
    expect(await redis.exists(entryKey(job.id))).toBe(0);
    await redis.rename('kept', `${queues.prefix('optimize')}pc`);
    await expect.poll(() => queues.waits('optimize', job.id), { timeout: 10_000 }).toBe(true);
  });
});
