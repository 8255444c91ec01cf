import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { requeueOrphans } from '../../src/jobs/requeue.ts';
import { BEGINNING, readEvents } from '../../src/records/events.ts';
import { PROMPT, queueJob, readOk, startTestApi, succeedJob, type TestApi } from '../support/test-api.ts';

/**
 * What a crash in the middle of a request or of a job leaves behind, and how the API repairs it.
 */
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

const types = async (id: string) =>
  (await readEvents(api.store.redis, api.store.keys, id, BEGINNING)).map(({ type }) => type);

/** As if the process had died before it could keep its answers. */
async function forgetAnswers(): Promise<void> {
  const entries = await api.store.redis.keys(`${api.store.keys.idempotency('*')}`);
  for (const entry of entries) await api.store.redis.hdel(entry, 'answer');
}

describe('a job that has a record but no queue entry', () => {
  it('is queued when the request is repeated with its idempotency key', async () => {
    const headers = { 'idempotency-key': 'a crash came in between' };
    const { id } = await queueJob(api, {}, headers);
    await api.store.queues.remove('optimize', id);
    await forgetAnswers();
    const again = await queueJob(api, {}, headers);
    expect(again).toMatchObject({ id, status: 'queued', queuePosition: 1 });
    expect(await api.store.queues.has('optimize', id)).toBe(true);
    await readOk(await api.post(`/v1/jobs/${id}/cancel`), 200);
  });

  it('is not queued again while it runs', async () => {
    const headers = { 'idempotency-key': 'it runs' };
    const { id } = await queueJob(api, {}, headers);
    await api.store.queues.remove('optimize', id);
    await api.store.jobs.change(id, { set: { status: 'running' } });
    await forgetAnswers();
    expect(await queueJob(api, {}, headers)).toMatchObject({ id, status: 'running' });
    expect(await api.store.queues.has('optimize', id)).toBe(false);
  });

  it.each(['queued', 'running', 'canceling'] as const)(
    'is canceled at once when its status is %s',
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

describe('a waiting job that has a checkpoint', () => {
  const key = (id: string) => `checkpoints/${id}-3.safetensors`;

  /** A job whose worker shut down: queued, with a checkpoint. */
  async function queueStartedJob(): Promise<string> {
    const { id } = await queueJob(api);
    await api.blobs.put(key(id), Uint8Array.of(1));
    await api.store.jobs.change(id, { set: { checkpoint: { key: key(id), iteration: 3 } } });
    return id;
  }

  it('loses its checkpoint when it is canceled', async () => {
    const id = await queueStartedJob();
    expect(await readOk(await api.post(`/v1/jobs/${id}/cancel`), 200)).toMatchObject({ status: 'canceled' });
    expect(await api.blobs.get(key(id))).toBeNull();
    expect(await api.store.queues.has('optimize', id)).toBe(false);
  });

  it.each(['is in its queue', 'is in no queue'])(
    'goes to a worker that stores its policy when it is canceled with keepPartial and %s',
    async (how) => {
      const id = await queueStartedJob();
      if (how === 'is in no queue') await api.store.queues.remove('optimize', id);
      const response = await api.post(`/v1/jobs/${id}/cancel`, { keepPartial: true });
      expect(await readOk(response, 202)).toMatchObject({ status: 'canceling' });
      expect(await api.store.jobs.get(id)).toMatchObject({ keepPartial: true, checkpoint: { key: key(id) } });
      expect(await api.store.queues.has('optimize', id)).toBe(true);
      expect(await api.blobs.get(key(id))).not.toBeNull();
      // Without keepPartial, no worker is needed.
      await api.store.queues.remove('optimize', id);
      expect(await readOk(await api.post(`/v1/jobs/${id}/cancel`), 200)).toMatchObject({
        status: 'canceled',
      });
    },
  );

  it('has no policy to store before its first checkpoint', async () => {
    const { id } = await queueJob(api);
    const response = await api.post(`/v1/jobs/${id}/cancel`, { keepPartial: true });
    expect(await readOk(response, 200)).toMatchObject({ status: 'canceled', policyId: null });
  });
});

describe('requeueOrphans', () => {
  it('queues jobs and samples without a queue entry, once', async () => {
    const own = await startTestApi();
    onTestFinished(() => own.close());
    const job = await queueJob(own);
    const sample = await readOk(await own.post('/v1/samples', { prompt: PROMPT }), 202);
    const ended = await queueJob(own);
    await succeedJob(own, ended.id);
    await own.store.queues.remove('optimize', job.id);
    await own.store.queues.remove('sample', String(sample.id));
    expect(await requeueOrphans(own.store)).toBe(2);
    expect(await own.store.queues.has('optimize', job.id)).toBe(true);
    expect(await own.store.queues.has('sample', String(sample.id))).toBe(true);
    expect(await own.store.queues.has('optimize', ended.id)).toBe(false);
    expect(await requeueOrphans(own.store)).toBe(0);
  });
});
