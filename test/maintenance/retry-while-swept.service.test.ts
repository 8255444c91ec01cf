import { afterAll, beforeAll, expect, it } from 'vitest';
import { recordKey, removalKey } from '../../src/jobs/archive.ts';
import { retryJob } from '../../src/jobs/lifecycle.ts';
import { removeJob } from '../../src/jobs/remove.ts';
import type { BlobStore } from '../../src/storage/blobs.ts';
import { queueJob, startTestApi, type TestApi } from '../support/test-api.ts';

/**
 * A failed job is retried while retention deletes it: one of the two wins, and the other leaves no
 * trace.
 */
let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

async function failedJob(): Promise<string> {
  const { id } = await queueJob(api);
  await api.store.queues.remove('optimize', id);
  await api.store.jobs.change(id, { set: { status: 'failed', finishedAt: new Date().toISOString() } });
  return id;
}

const retry = (id: string, blobs: BlobStore = api.blobs) => retryJob(api.store, blobs, id, Date.now());
const remove = (id: string, blobs: BlobStore = api.blobs) =>
  removeJob(api.store, blobs, id, new Date().toISOString());

/** Storage that runs `action` right before a call with `key`. */
function before(call: 'put' | 'delete', key: string, action: () => Promise<unknown>): BlobStore {
  return new Proxy(api.blobs, {
    get(blobs, name) {
      const method = Reflect.get(blobs, name);
      if (name !== call) return typeof method === 'function' ? method.bind(blobs) : method;
      return async (...parameters: [string, Uint8Array]) => {
        if (parameters[0] === key) await action();
        return Reflect.apply(method, blobs, parameters);
      };
    },
  });
}

async function expectWaiting(id: string): Promise<void> {
  expect(await api.store.jobs.get(id)).toMatchObject({ id, status: 'queued' });
  expect(await api.store.queues.position('optimize', id)).not.toBeNull();
  expect(await api.blobs.get(removalKey(id))).toBeNull();
}
async function expectGone(id: string): Promise<void> {
  await expect(api.store.jobs.get(id)).rejects.toMatchObject({ code: 'gone' });
  expect(await api.store.queues.position('optimize', id)).toBeNull();
  expect(await api.blobs.get(removalKey(id))).not.toBeNull();
  expect(await api.blobs.get(recordKey(id))).toBeNull();
}

it('a job that is retried during its deletion is gone', async () => {
  const id = await failedJob();
  let refusal: unknown;
  const blobs = before('put', removalKey(id), async () => {
    refusal = await retry(id).catch((error: unknown) => error);
  });
  expect(await remove(id, blobs)).toBe(true);
  expect(refusal).toMatchObject({ code: 'gone' });
  await expectGone(id);
});

it('a job that is deleted during its retry is gone', async () => {
  const id = await failedJob();
  const blobs = before('delete', recordKey(id), () => remove(id));
  await expect(retry(id, blobs)).rejects.toMatchObject({ code: 'gone' });
  await expectGone(id);
});

it('a job that was retried before is not deleted', async () => {
  const id = await failedJob();
  await retry(id);
  expect(await remove(id)).toBe(false);
  await expectWaiting(id);
});

it('an interrupted deletion is finished by the next one, and prevents a retry in between', async () => {
  const id = await failedJob();
  const broken = before('put', removalKey(id), () => Promise.reject(new Error('the process died here')));
  await expect(remove(id, broken)).rejects.toThrow(/died/);
  await expect(retry(id)).rejects.toMatchObject({ code: 'gone' });
  expect(await remove(id)).toBe(true);
  await expectGone(id);
});

it('of a concurrent retry and deletion, one wins', async () => {
  const ids = await Promise.all(Array.from({ length: 20 }, failedJob));
  await Promise.all(
    ids.map(async (id) => {
      const retrying = retry(id).then(
        () => true,
        () => false,
      );
      const [removed, retried] = await Promise.all([remove(id), retrying]);
      expect(removed, id).toBe(!retried);
      await (removed ? expectGone(id) : expectWaiting(id));
    }),
  );
});
