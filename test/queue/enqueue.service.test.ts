import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId, newUlid } from '../../src/contract/ids.ts';
import { JobSettings } from '../../src/contract/schemas/job.ts';
import { submitJob } from '../../src/jobs/submit.ts';
import { BEGINNING, readEvents } from '../../src/records/events.ts';
import { scopeStore, type TenantStore } from '../../src/store/store.ts';
import { NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { expectProblem, PROMPT, queueJob, readOk, startTestApi, type TestApi } from '../support/service.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

const entryKey = (id: string) => `${api.store.queues.prefix('optimize')}${id}`;

/** What a queue has of an entry: its hash, its place in the set (without its number), what wakes workers. */
async function written(id: string) {
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

const idOf = ({ shown }: { readonly shown: string }) => (JSON.parse(shown) as { id: string }).id;

/** The settings of a job that is there, once more. */
async function submit(store: TenantStore, id: string) {
  const { data } = await api.store.jobs.list({ limit: 1 });
  const settings = Object.fromEntries(
    Object.entries(data[0]).filter(([name]) => name in JobSettings.properties),
  ) as JobSettings;
  return submitJob(store, settings, { id, warnings: [], requestId: 'test', now: new Date().toISOString() });
}

describe('accepting new work', () => {
  it.each(['high', 'normal', 'low'] as const)(
    'puts into the queue what BullMQ would, priority %s',
    async (priority) => {
      const { id, tenant } = { id: newId('job'), tenant: 'default' };
      await api.store.queues.add('optimize', { id, tenant, priority });
      const byBullMQ = await written(id);
      await api.store.queues.remove('optimize', id);
      const mine = await queueJob(api, { priority });
      expect(await written(mine.id)).toEqual(byBullMQ);
      await api.store.queues.remove('optimize', mine.id);
    },
  );

  it('gives entries of one priority their places in the order in which they came, however they came', async () => {
    const first = await queueJob(api);
    const second = { id: newId('job'), tenant: 'default', priority: 'normal' as const };
    await api.store.queues.add('optimize', second);
    const third = await queueJob(api);
    const positions = [first, second, third].map(({ id }) => api.store.queues.position('optimize', id));
    expect(await Promise.all(positions)).toEqual([1, 2, 3]);
    expect(third.queuePosition).toBe(3);
    const best = await queueJob(api, { priority: 'high' });
    expect(best.queuePosition).toBe(1);
    for (const { id } of [first, second, third, best]) await api.store.queues.remove('optimize', id);
  });

  it('tells at once what is told of it later, whatever its texts hold', async () => {
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

  it('sent twice, changes nothing the second time, and counts nothing', async () => {
    await queueJob(api);
    const limits = { requestsPerMinute: null, queuedJobs: 1, imagesPerDay: 1_000_000, storedBytes: null };
    const store = scopeStore(api.store, { tenant: 'twice', key: {}, limits });
    const id = newId('job');
    expect(await submit(store, id)).toMatchObject({ isNew: true, position: expect.any(Number) });
    const asked = () =>
      api.store.redis.get(api.store.keys.imagesAsked('twice', new Date().toISOString().slice(0, 10)));
    const counted = await asked();
    expect(await submit(store, id)).toMatchObject({ isNew: false });
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

  it('takes many at a time, each with its own answer', async () => {
    const limits = { requestsPerMinute: null, queuedJobs: 70, imagesPerDay: null, storedBytes: null };
    const store = scopeStore(api.store, { tenant: 'many', key: {}, limits });
    const ids = Array.from({ length: 120 }, () => newId('job'));
    ids[5] = ids[4];
    const outcomes = await Promise.allSettled(ids.map((id) => submit(store, id)));
    const accepted = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    expect(accepted.filter(({ isNew }) => isNew)).toHaveLength(70);
    expect(accepted.filter(({ isNew }) => !isNew)).toHaveLength(1);
    expect(accepted.filter(({ isNew }) => isNew).map(idOf)).toEqual(
      ids.slice(0, 71).filter((_, i) => i !== 5),
    );
    const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
    expect(refused).toHaveLength(49);
    for (const reason of refused) expect(reason).toMatchObject({ code: 'quota-exceeded' });
    expect(await api.store.queues.waitingOf('many')).toEqual({ optimize: 70, sample: 0 });
    for (const made of accepted) await api.store.queues.remove('optimize', idOf(made));
  });

  it('lets one of many fail by itself', async () => {
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

  it('writes the first event when somebody looks, or before the second, at the time at which it happened', async () => {
    const { redis, keys, jobs } = api.store;
    const before = Date.now();
    const [looked, changed] = [await queueJob(api), await queueJob(api)];
    const after = Date.now();
    expect(await redis.exists(keys.events(looked.id), keys.events(changed.id))).toBe(0);
    await jobs.change(changed.id, { set: {}, events: [{ type: 'status', data: { status: 'running' } }] });
    for (const [{ id }, statuses] of [
      [looked, ['queued']],
      [changed, ['queued', 'running']],
    ] as const) {
      const events = await readEvents(redis, keys, id, BEGINNING);
      expect(events.map(({ data }) => JSON.parse(data).status)).toEqual(statuses);
      const at = Number(events[0].id.split('-')[0]);
      expect(at).toBeGreaterThanOrEqual(before);
      expect(at).toBeLessThanOrEqual(after);
      expect(await readEvents(redis, keys, id, BEGINNING)).toEqual(events);
      await api.store.queues.remove('optimize', id);
    }
  });

  it('is remembered, and queued by the next round of upkeep, when the queue fails', async () => {
    const { redis, keys, queues } = api.store;
    // A counter that is none: BullMQ's part of the change fails after the record was written.
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

describe('a job that is read again and again', () => {
  it('is told as it is, whoever changed it', async () => {
    const { id } = await queueJob(api, { metadata: { a: 'b' } });
    const read = async () => readOk(await api.get(`/v1/jobs/${id}`), 200);
    const first = await read();
    expect(await read()).toEqual(first);
    await queueJob(api, { priority: 'high' });
    const behind = await read();
    expect(behind).toEqual({ ...first, queuePosition: Number(first.queuePosition) + 1 });
    await api.store.jobs.change(id, {
      set: { progress: { ...first.progress, stage: 'searching' } as never },
    });
    expect(await read()).toMatchObject({
      progress: { stage: 'searching' },
      metadata: { a: 'b' },
      prompt: PROMPT,
    });
    await readOk(await api.post(`/v1/jobs/${id}/cancel`), 200);
    expect(await read()).toMatchObject({ status: 'canceled', queuePosition: null });
    await api.store.jobs.remove(id, new Date().toISOString());
    await expectProblem(await api.get(`/v1/jobs/${id}`), 410, 'gone');
  });

  it('is another one when Redis was lost and its id is given again', async () => {
    const path = `/v1/jobs/job_${newUlid()}`;
    const put = (prompt: string) =>
      api.send('PUT', path, { 'content-type': 'application/json' }, JSON.stringify({ prompt }));
    const { id } = await readOk(await put(PROMPT), 202);
    await readOk(await api.get(path), 200);
    await api.store.queues.remove('optimize', String(id));
    await api.store.jobs.discard(String(id));
    await expectProblem(await api.get(path), 404, 'not-found');
    await readOk(await put('a red cat'), 202);
    expect(await readOk(await api.get(path), 200)).toMatchObject({ prompt: 'a red cat' });
  });
});

describe('ids', () => {
  it('sort by time, and are all different', () => {
    const ids = Array.from({ length: 20_000 }, (_, i) => newUlid(1_700_000_000_000 + i));
    expect(ids.toSorted()).toEqual(ids);
    expect(new Set(Array.from({ length: 20_000 }, () => newUlid(5))).size).toBe(20_000);
    expect(ids[0]).toMatch(/^01hf7yat00[0-9a-hjkmnp-tv-z]{16}$/);
  });
});
