import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BEGINNING, readEvents } from '../../src/records/events.ts';
import { queueJob, readOk, startTestApi, type TestApi } from '../support/service.ts';

/** What a crash can leave behind in the middle of a request or of a job; what the API then does about it. */
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

const types = async (id: string) =>
  (await readEvents(api.store.redis, api.store.keys, id, BEGINNING)).map(({ type }) => type);

describe('a job that is written but in no queue', () => {
  it('is queued when the request is sent again with its key', async () => {
    const headers = { 'idempotency-key': 'a crash came in between' };
    const { id } = await queueJob(api, {}, headers);
    await api.store.queues.remove('optimize', id);
    const again = await queueJob(api, {}, headers);
    expect(again).toMatchObject({ id, status: 'queued', queuePosition: 1 });
    expect(await api.store.queues.has('optimize', id)).toBe(true);
    await readOk(await api.post(`/v1/jobs/${id}/cancel`), 200);
  });

  it('is not queued again once it runs', async () => {
    const headers = { 'idempotency-key': 'it runs' };
    const { id } = await queueJob(api, {}, headers);
    await api.store.queues.remove('optimize', id);
    await api.store.jobs.change(id, { set: { status: 'running' } });
    expect(await queueJob(api, {}, headers)).toMatchObject({ id, status: 'running' });
    expect(await api.store.queues.has('optimize', id)).toBe(false);
  });

  it.each(['queued', 'running', 'canceling'] as const)(
    'is canceled at once while it is %s',
    async (status) => {
      const { id } = await queueJob(api);
      await api.store.queues.remove('optimize', id);
      await api.store.jobs.change(id, { set: { status } });
      expect(await readOk(await api.post(`/v1/jobs/${id}/cancel`), 200)).toMatchObject({
        status: 'canceled',
      });
      expect(await types(id)).toEqual(['status', 'status', 'done']);
    },
  );
});

describe('a waiting job that a worker had begun', () => {
  const key = (id: string) => `checkpoints/${id}-3.safetensors`;

  /** A job that a worker gave back when it ended: queued, with a checkpoint. */
  async function queueBegunJob(): Promise<string> {
    const { id } = await queueJob(api);
    await api.blobs.put(key(id), Uint8Array.of(1));
    await api.store.jobs.change(id, { set: { checkpoint: { key: key(id), iteration: 3 } } });
    return id;
  }

  it('leaves no checkpoint behind when it is canceled', async () => {
    const id = await queueBegunJob();
    expect(await readOk(await api.post(`/v1/jobs/${id}/cancel`), 200)).toMatchObject({ status: 'canceled' });
    expect(await api.blobs.get(key(id))).toBeNull();
    expect(await api.store.queues.has('optimize', id)).toBe(false);
  });

  it.each(['waits', 'is in no queue'])(
    'goes to a worker for what it has learnt when that is to be kept and it %s',
    async (how) => {
      const id = await queueBegunJob();
      if (how !== 'waits') await api.store.queues.remove('optimize', id);
      const response = await api.post(`/v1/jobs/${id}/cancel`, { keepPartial: true });
      expect(await readOk(response, 202)).toMatchObject({ status: 'canceling' });
      expect(await api.store.jobs.get(id)).toMatchObject({ keepPartial: true, checkpoint: { key: key(id) } });
      expect(await api.store.queues.has('optimize', id)).toBe(true);
      expect(await api.blobs.get(key(id))).not.toBeNull();
      // Without keeping, a worker is no longer needed.
      await api.store.queues.remove('optimize', id);
      expect(await readOk(await api.post(`/v1/jobs/${id}/cancel`), 200)).toMatchObject({
        status: 'canceled',
      });
    },
  );

  it('has nothing to keep before its first checkpoint', async () => {
    const { id } = await queueJob(api);
    const response = await api.post(`/v1/jobs/${id}/cancel`, { keepPartial: true });
    expect(await readOk(response, 200)).toMatchObject({ status: 'canceled', policyId: null });
  });
});
