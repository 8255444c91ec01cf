import { afterAll, beforeAll, expect, it } from 'vitest';
import { BEGINNING, readEvents } from '../../src/records/events.ts';
import { queueJob, startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

it('writes the first event of a job late, with the time of enqueueing', async () => {
  const { redis, keys, jobs } = api.store;
  const before = Date.now();
  const [read, changed] = [await queueJob(api), await queueJob(api)];
  const after = Date.now();
  expect(await redis.exists(keys.events(read.id), keys.events(changed.id))).toBe(0);
  await jobs.change(changed.id, { set: {}, events: [{ type: 'status', data: { status: 'running' } }] });
  for (const [{ id }, statuses] of [
    [read, ['queued']],
    [changed, ['queued', 'running']],
  ] as const) {
    const events = await readEvents(redis, keys, id, BEGINNING);
    expect(events.map(({ data }) => JSON.parse(data).status)).toEqual(statuses);
    const at = Number(events[0].id.split('-')[0]);
    expect(at).toBeGreaterThanOrEqual(before);
    expect(at).toBeLessThanOrEqual(after);
    expect(await readEvents(redis, keys, id, BEGINNING)).toEqual(events);
  }
});
