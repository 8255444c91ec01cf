import { afterAll, beforeAll, expect, it } from 'vitest';
import { SEARCH_START } from '../../src/search/run-search.ts';
import { Checkpoints } from '../../workers/checkpoints.ts';
import { createOptimizer } from '../../workers/create-optimizer.ts';
import { Lease } from '../../workers/lease.ts';
import { queueJob, startTestApi, type TestApi } from '../support/service.ts';

/** Two workers that both believe to have a job: the first stood still, the second took it over. */
let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

/** A worker's hold of a job, with checkpoints at `iteration`. */
async function takeUp(id: string) {
  const claim = new Lease(api.store.jobs, id);
  expect(await claim.take(['queued', 'running'], { set: { status: 'running' } })).toBe(true);
  const record = await api.store.jobs.get(id);
  const optimizer = createOptimizer(record, { shape: [4, 2, 2], promptEmbedding: new Float32Array(8) });
  const checkpoints = new Checkpoints(api.blobs, claim, record.checkpoint?.key ?? null);
  const save = (iteration: number, seconds: number) =>
    checkpoints.save(optimizer, { ...SEARCH_START, iteration, seconds }, { atLeastEvery: 0 });
  return { claim, optimizer, checkpoints, save };
}

const stored = (id: string) => Array.fromAsync(api.blobs.list(`checkpoints/${id}`));
const current = async (id: string) => (await api.store.jobs.get(id)).checkpoint;

it('a worker that lost its job can neither replace nor delete its successor’s checkpoint', async () => {
  const { id } = await queueJob(api, { optimizer: { name: 'elites' } });
  const first = await takeUp(id);
  await first.save(1, 10);
  const second = await takeUp(id);
  expect(await second.checkpoints.load(second.optimizer)).toMatchObject({ iteration: 1, seconds: 10 });
  await second.save(2, 20);

  // The same iteration, other seconds: the first had been stopped just before it wrote.
  await expect(first.save(2, 99)).rejects.toMatchObject({ name: 'Interruption', kind: 'lost' });
  await expect(first.save(3, 99)).rejects.toMatchObject({ kind: 'lost' });
  expect(await current(id)).toMatchObject({ iteration: 2, key: expect.stringContaining(second.claim.owner) });
  expect(await stored(id)).toEqual([(await current(id))?.key]);
  const third = await takeUp(id);
  expect(await third.checkpoints.load(third.optimizer)).toMatchObject({ iteration: 2, seconds: 20 });
});

it('what dead workers left goes with the job’s end', async () => {
  const { id } = await queueJob(api, { optimizer: { name: 'elites' } });
  const other = await queueJob(api);
  await api.blobs.put(`checkpoints/${id}-7-dead.safetensors`, Uint8Array.of(1));
  await api.blobs.put(`checkpoints/${other.id}-7-dead.safetensors`, Uint8Array.of(1));
  const { checkpoints, save } = await takeUp(id);
  await save(8, 1);
  await checkpoints.discard();
  expect(await stored(id)).toEqual([]);
  expect(await stored(other.id)).toHaveLength(1);
});

it('a job that has ended takes no checkpoint, and keeps no blob of it', async () => {
  const { id } = await queueJob(api, { optimizer: { name: 'elites' } });
  const { save } = await takeUp(id);
  await api.store.jobs.change(id, { set: { status: 'canceled' } });
  await expect(save(1, 1)).rejects.toMatchObject({ kind: 'canceled' });
  expect(await current(id)).toBeNull();
  expect(await stored(id)).toEqual([]);
});
