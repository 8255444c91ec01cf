import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { drainOutbox } from '../../src/webhooks/dispatch.ts';
import { endJobSample, failJobSample, openJobSample } from '../../workers/job-sample.ts';
import { takeJob } from '../support/take-job.ts';
import { PROMPT, queueJob, startTestApi, type TestApi } from '../support/test-api.ts';

/**
 * Changes of a record between an event and its dispatch. The store `quiet` has no API that drains
 * its outbox, so the tests decide when that happens.
 */
const URL = 'https://example.com/hook';
let api: TestApi;
let quiet: Store;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());
beforeEach(async () => {
  quiet = await openStore(api.redisUrl, `${api.config.redisPrefix}:quiet`, { failFast: true });
});
afterEach(async () => {
  const keys = await quiet.redis.keys(`${api.config.redisPrefix}:quiet:*`);
  if (keys.length > 0) await quiet.redis.del(...keys);
  await quiet.close();
});

/** A job in the quiet store, like one that was queued through the API. */
async function newJob(): Promise<string> {
  const record = await api.store.jobs.get((await queueJob(api, { samples: 1 })).id);
  const id = newId('job');
  const webhook = { url: URL, events: ['job.failed' as const, 'job.succeeded' as const] };
  await quiet.jobs.create(
    { ...record, id, webhook },
    { internal: { secrets: [{ secret: 's', validUntil: null }] } },
  );
  return id;
}

/** Drains the outbox. Returns the types of the deliveries and the data of their bodies. */
async function dispatch(): Promise<{ types: string[]; data: { [name: string]: unknown }[] }> {
  await drainOutbox(quiet, 5);
  const { data } = await quiet.webhooks.deliveries.list({ limit: 100 });
  const bodies = await Promise.all(data.map(({ eventId }) => quiet.webhooks.body(eventId)));
  return { types: data.map(({ type }) => type), data: bodies.map((body) => JSON.parse(String(body)).data) };
}

it('the event of a failed job says so, although the job is queued again', async () => {
  const id = await newJob();
  const error = { type: '/problems/internal', title: 'x', status: 500, detail: 'd', code: 'internal' };
  await quiet.jobs.change(id, { set: { status: 'failed', error, finishedAt: '2026-01-01T00:00:00.000Z' } });
  await quiet.jobs.change(id, { set: { status: 'queued', error: null, finishedAt: null }, reopen: true });
  const { types, data } = await dispatch();
  expect(types).toEqual(['job.failed']);
  expect(data).toMatchObject([
    { id, status: 'failed', prompt: PROMPT, error: { detail: 'd' }, finishedAt: '2026-01-01T00:00:00.000Z' },
  ]);
});

it('the event of a deleted job is delivered, signed with the secret of the job', async () => {
  const id = await newJob();
  await quiet.jobs.change(id, { set: { status: 'succeeded' } });
  await quiet.jobs.remove(id, new Date().toISOString());
  expect(await dispatch()).toMatchObject({ types: ['job.succeeded'], data: [{ id, status: 'succeeded' }] });
  const [delivery] = (await quiet.webhooks.deliveries.list({ limit: 1 })).data;
  expect(await quiet.webhooks.deliveries.internalField(delivery.id, 'secrets')).toEqual([
    { secret: 's', validUntil: null },
  ]);
});

it('a dispatched event leaves no snapshot, and an event without one has the current record', async () => {
  const id = await newJob();
  const snapshots = () => quiet.redis.keys(`${api.config.redisPrefix}:quiet:snapshot:*`);
  await quiet.jobs.change(id, { set: { status: 'succeeded' } });
  expect(await snapshots()).toHaveLength(1);
  await dispatch();
  expect(await snapshots()).toEqual([]);
  const notice = { type: 'job.failed', event: newId('evt'), id, at: new Date().toISOString() };
  await quiet.redis.zadd(quiet.keys.outbox(), 0, JSON.stringify(notice));
  const { types, data } = await dispatch();
  expect(types.sort()).toEqual(['job.failed', 'job.succeeded']);
  expect(data.map(({ status }) => status)).toEqual(['succeeded', 'succeeded']);
});

/** Counts the notices of a type in the outbox. */
async function countNotices(type: string): Promise<number> {
  return (await quiet.redis.zrange(quiet.keys.outbox(), '0', '-1')).filter(
    (text) => JSON.parse(text).type === type,
  ).length;
}

it('the end of the samples of a job is one event, although the job is resumed from before it', async () => {
  const id = await newJob();
  const first = await takeJob({ store: quiet, blobs: api.blobs }, id);
  const sample = await openJobSample(first, newId('pol'));
  await endJobSample(first, sample, []);
  // The first worker died here, before the end of the job.
  const resumed = await openJobSample(await takeJob({ store: quiet, blobs: api.blobs }, id), newId('pol'));
  expect(resumed).toMatchObject({ id: sample.id, status: 'succeeded' });
  expect(await countNotices('sample.succeeded')).toBe(1);
});

it('a late worker does not change samples that have ended', async () => {
  const id = await newJob();
  const late = await openJobSample(await takeJob({ store: quiet, blobs: api.blobs }, id), newId('pol'));
  const job = await takeJob({ store: quiet, blobs: api.blobs }, id);
  await endJobSample(job, await openJobSample(job, newId('pol')), []);
  const ended = await quiet.samples.get(late.id);
  await new Promise((resolve) => setTimeout(resolve, 5)); // so that the time differs from that of the end
  await endJobSample(job, late, []);
  expect(await quiet.samples.get(late.id)).toEqual(ended);
  const archived = Buffer.from((await api.blobs.get(`records/${late.id}.json`)) ?? []).toString();
  expect(archived).toContain(String(ended.finishedAt));
  expect(await countNotices('sample.succeeded')).toBe(1);
});

it('failed samples run again when their job is retried', async () => {
  const job = await takeJob({ store: quiet, blobs: api.blobs }, await newJob());
  const { id } = await openJobSample(job, newId('pol'));
  const problem = { type: '/problems/internal', title: 'x', status: 500, detail: 'd', code: 'internal' };
  expect(await failJobSample(job, problem)).toBe(id);
  expect(await openJobSample(job, newId('pol'))).toMatchObject({ id, status: 'running', error: null });
  await endJobSample(job, await quiet.samples.get(id), []);
  expect([await countNotices('sample.failed'), await countNotices('sample.succeeded')]).toEqual([1, 1]);
});
