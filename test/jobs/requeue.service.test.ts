import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requeuePending } from '../../src/jobs/requeue.ts';
import { act, isQueued, isUnqueued } from '../support/job-state.ts';
import { queueJob, readOk, startTestApi, type TestApi } from '../support/test-api.ts';

/** No worker runs here. These tests change a job through the store as a worker would. */
let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('requeuePending', () => {
  it('the background loop queues a record that a crash left without an entry', async () => {
    const { id } = await queueJob(api);
    await api.store.queues.remove('optimize', id);
    await api.store.redis.zadd(api.store.keys.unqueued(), 0, id);
    await expect.poll(() => isQueued(api, id), { timeout: 10_000 }).toBe(true);
    await expect.poll(() => isUnqueued(api, id)).toBe(false);
  });

  it('forgets a job that has ended', async () => {
    const { id } = await queueJob(api);
    await readOk(await act(api, id, 'cancel'), 200);
    await api.store.redis.zadd(api.store.keys.unqueued(), 0, id);
    await requeuePending(api.store, 0);
    expect(await isQueued(api, id)).toBe(false);
    expect(await isUnqueued(api, id)).toBe(false);
  });

  it('queues a resumed job once a worker has let go of its last entry', async () => {
    const { id } = await queueJob(api);
    await readOk(await act(api, id, 'pause'), 200);
    // An entry that a worker still holds: adding it again changes nothing.
    await api.store.redis.hset(`${api.store.keys.queuePrefix()}:optimize:${id}`, 'data', '{}');
    await readOk(await act(api, id, 'resume'), 200);
    expect(await isUnqueued(api, id)).toBe(true);
    await api.store.redis.del(`${api.store.keys.queuePrefix()}:optimize:${id}`);
    await requeuePending(api.store, 0);
    expect(await api.store.queues.waits('optimize', id)).toBe(true);
    expect(await isUnqueued(api, id)).toBe(false);
  });
});
