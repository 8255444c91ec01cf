import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { emptyOutbox } from '../../src/webhooks/dispatch.ts';
import type { WorkerContext } from '../../workers/context.ts';
import { endJobSample, failJobSample, openJobSample } from '../../workers/job-sample.ts';
import { Lease } from '../../workers/lease.ts';
import type { RunningJob } from '../../workers/running-job.ts';
import { PROMPT, queueJob, startTestApi, type TestApi } from '../support/service.ts';

/** What happens between an event and its telling. `quiet` has no API that would empty its outbox, so that these tests say when. */
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
    { hide: { secrets: [{ secret: 's', validUntil: null }] } },
  );
  return id;
}

/** What was told, as `type status`, and the bodies. */
async function told(): Promise<{ types: string[]; data: { [name: string]: unknown }[] }> {
  await emptyOutbox(quiet, 5);
  const { data } = await quiet.webhooks.deliveries.list({ limit: 100 });
  const bodies = await Promise.all(data.map(({ eventId }) => quiet.webhooks.body(eventId)));
  return { types: data.map(({ type }) => type), data: bodies.map((body) => JSON.parse(String(body)).data) };
}

it('a job that failed is told as failed, though it waits again by then', async () => {
  const id = await newJob();
  const error = { type: '/problems/internal', title: 'x', status: 500, detail: 'd', code: 'internal' };
  await quiet.jobs.change(id, { set: { status: 'failed', error, finishedAt: '2026-01-01T00:00:00.000Z' } });
  await quiet.jobs.change(id, { set: { status: 'queued', error: null, finishedAt: null }, reopen: true });
  const { types, data } = await told();
  expect(types).toEqual(['job.failed']);
  expect(data).toMatchObject([
    { id, status: 'failed', prompt: PROMPT, error: { detail: 'd' }, finishedAt: '2026-01-01T00:00:00.000Z' },
  ]);
});

it('a job that is deleted by then is told all the same, signed by its secret', async () => {
  const id = await newJob();
  await quiet.jobs.change(id, { set: { status: 'succeeded' } });
  await quiet.jobs.remove(id, new Date().toISOString());
  expect(await told()).toMatchObject({ types: ['job.succeeded'], data: [{ id, status: 'succeeded' }] });
  const [delivery] = (await quiet.webhooks.deliveries.list({ limit: 1 })).data;
  expect(await quiet.webhooks.deliveries.hidden(delivery.id, 'secrets')).toEqual([
    { secret: 's', validUntil: null },
  ]);
});

it('what was told leaves nothing behind, and what an older findery noted is told as it is', async () => {
  const id = await newJob();
  const snapshots = () => quiet.redis.keys(`${api.config.redisPrefix}:quiet:snapshot:*`);
  await quiet.jobs.change(id, { set: { status: 'succeeded' } });
  expect(await snapshots()).toHaveLength(1);
  await told();
  expect(await snapshots()).toEqual([]);
  const notice = { type: 'job.failed', event: newId('evt'), id, at: new Date().toISOString() };
  await quiet.redis.zadd(quiet.keys.outbox(), 0, JSON.stringify(notice));
  const { types, data } = await told();
  expect(types.sort()).toEqual(['job.failed', 'job.succeeded']);
  expect(data.map(({ status }) => status)).toEqual(['succeeded', 'succeeded']);
});

/** A job in the hands of a worker. */
async function takeUp(id: string): Promise<RunningJob> {
  const claim = new Lease(quiet.jobs, id);
  await claim.take(['queued', 'running'], { set: { status: 'running' } });
  const context = {
    store: quiet,
    blobs: api.blobs,
    logger: pino({ level: 'silent' }),
  } as unknown as WorkerContext;
  return { context, lease: claim, record: await quiet.jobs.get(id) };
}

/** How often the outbox has an event of this type. */
async function noted(type: string): Promise<number> {
  return (await quiet.redis.zrange(quiet.keys.outbox(), '0', '-1')).filter(
    (text) => JSON.parse(text).type === type,
  ).length;
}

it('the end of a job’s samples is told once, though the job is done over from before it', async () => {
  const id = await newJob();
  const first = await takeUp(id);
  const sample = await openJobSample(first, newId('pol'));
  await endJobSample(first, sample, []);
  // The first worker died here, before the end of the job.
  const again = await openJobSample(await takeUp(id), newId('pol'));
  expect(again).toMatchObject({ id: sample.id, status: 'succeeded' });
  expect(await noted('sample.succeeded')).toBe(1);
});

it('a worker that comes too late changes nothing of samples that have ended', async () => {
  const id = await newJob();
  const late = await openJobSample(await takeUp(id), newId('pol'));
  const job = await takeUp(id);
  await endJobSample(job, await openJobSample(job, newId('pol')), []);
  const ended = await quiet.samples.get(late.id);
  await new Promise((over) => setTimeout(over, 5)); // another time than that of the end
  await endJobSample(job, late, []);
  expect(await quiet.samples.get(late.id)).toEqual(ended);
  const archived = Buffer.from((await api.blobs.get(`records/${late.id}.json`)) ?? []).toString();
  expect(archived).toContain(String(ended.finishedAt));
  expect(await noted('sample.succeeded')).toBe(1);
});

it('samples that failed are drawn anew when their job is tried again', async () => {
  const job = await takeUp(await newJob());
  const { id } = await openJobSample(job, newId('pol'));
  const problem = { type: '/problems/internal', title: 'x', status: 500, detail: 'd', code: 'internal' };
  expect(await failJobSample(job, problem)).toBe(id);
  expect(await openJobSample(job, newId('pol'))).toMatchObject({ id, status: 'running', error: null });
  await endJobSample(job, await quiet.samples.get(id), []);
  expect([await noted('sample.failed'), await noted('sample.succeeded')]).toEqual([1, 1]);
});
