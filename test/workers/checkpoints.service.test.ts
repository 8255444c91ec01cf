import { afterAll, beforeAll, expect, it } from 'vitest';
import { SEARCH_START } from '../../src/search/search-loop.ts';
import { Checkpoints, createOptimizer } from '../../workers/checkpoints.ts';
import { takeJob } from '../support/take-job.ts';
import { queueJob, startTestApi, type TestApi } from '../support/test-api.ts';

/**
 * Two workers believe that they have a job: the first one was paused, and the second one took the
 * job.
 */
let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

/** Takes the job for another worker, with the checkpoints that it has. */
async function take(id: string) {
  const { lease, record } = await takeJob(api, id);
  const optimizer = createOptimizer(record, { shape: [4, 2, 2], promptEmbedding: new Float32Array(8) });
  const checkpoints = new Checkpoints(api.blobs, lease, record.checkpoint?.key ?? null);
  const save = (iteration: number, seconds: number) =>
    checkpoints.save(
      optimizer,
      { ...SEARCH_START, iteration, seconds },
      { minIntervalMs: 0, engineMilliseconds: 0 },
    );
  return { lease, optimizer, checkpoints, save };
}

const stored = (id: string) => Array.fromAsync(api.blobs.list(`checkpoints/${id}`));
const current = async (id: string) => (await api.store.jobs.get(id)).checkpoint;

it('a worker that lost its job can neither replace nor delete its successor’s checkpoint', async () => {
  const { id } = await queueJob(api, { optimizer: { name: 'elites' } });
  const first = await take(id);
  await first.save(1, 10);
  const second = await take(id);
  expect(await second.checkpoints.load(second.optimizer)).toMatchObject({ iteration: 1, seconds: 10 });
  await second.save(2, 20);

  // The first worker was stopped just before it wrote the same iteration, at other seconds.
  await expect(first.save(2, 99)).rejects.toMatchObject({ name: 'Interruption', kind: 'lost' });
  await expect(first.save(3, 99)).rejects.toMatchObject({ kind: 'lost' });
  expect(await current(id)).toMatchObject({ iteration: 2, key: expect.stringContaining(second.lease.token) });
  expect(await stored(id)).toEqual([(await current(id))?.key]);
  const third = await take(id);
  expect(await third.checkpoints.load(third.optimizer)).toMatchObject({ iteration: 2, seconds: 20 });
});

it('the end of a job deletes the checkpoints of dead workers', async () => {
  const { id } = await queueJob(api, { optimizer: { name: 'elites' } });
  const other = await queueJob(api);
  await api.blobs.put(`checkpoints/${id}-7-dead.safetensors`, Uint8Array.of(1));
  await api.blobs.put(`checkpoints/${other.id}-7-dead.safetensors`, Uint8Array.of(1));
  const { checkpoints, save } = await take(id);
  await save(8, 1);
  await checkpoints.discard();
  expect(await stored(id)).toEqual([]);
  expect(await stored(other.id)).toHaveLength(1);
});

it('a job that has ended gets no checkpoint, and the blob is deleted', async () => {
  const { id } = await queueJob(api, { optimizer: { name: 'elites' } });
  const { save } = await take(id);
  await api.store.jobs.change(id, { set: { status: 'canceled' } });
  await expect(save(1, 1)).rejects.toMatchObject({ kind: 'canceled' });
  expect(await current(id)).toBeNull();
  expect(await stored(id)).toEqual([]);
});
