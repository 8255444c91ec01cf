import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Job } from '../../src/contract/schemas/job.ts';
import { RECYCLE_STATUS } from '../../workers/recycling.ts';
import { createJobRunner } from '../support/job-runner.ts';
import { startTestService, type TestService, terminate } from '../support/test-service.ts';

/**
 * Workers on CUDA's name with the CPU's kernels (`cuda-on-cpu.ts`), beside workers on the CPU.
 */
const card = join(tmpdir(), `findery-lost-card-${process.pid}`);
let service: TestService;
let startCpuWorker: TestService['startWorker'];
let startGpuWorker: TestService['startWorker'];
let runner: ReturnType<typeof createJobRunner>;

beforeAll(async () => {
  const settings = { FINDERY_WARM: 'none', FINDERY_BATCH: '8', LOG_LEVEL: 'fatal' };
  service = await startTestService(settings);
  const preload = pathToFileURL(join(import.meta.dirname, '..', 'support', 'cuda-on-cpu.ts'));
  const cuda = {
    FINDERY_PROVIDERS: 'cuda',
    FINDERY_TEST_LOST_CARD: card,
    NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --import ${preload}`,
  };
  startCpuWorker = () => service.startWorker();
  startGpuWorker = () => service.startWorker(cuda);
  runner = createJobRunner(service);
});
afterAll(async () => {
  await service?.close();
  await rm(card, { force: true });
});

const REQUEST = {
  prompt: 'a green dog on the grass',
  seed: 7,
  budget: { images: 28 },
  sampler: { steps: 1, guidanceScale: 1 },
  reportDraws: 2,
};
const run = async (changes: object) => {
  const { job } = await runner.follow(await runner.client.createJob({ ...REQUEST, ...changes }));
  return { ...job, policy: await runner.readPolicy(job) };
};
const inBatchesOf = (batchSize: number) => ({ optimizer: { name: 'gp', batchSize } });

describe('a GPU that falls off the bus in the middle of a job', () => {
  it('ends its process; the job waits and goes on, with its batch size, to the same bytes', async () => {
    const first = await startCpuWorker();
    expect((await run({})).optimizer).toMatchObject({ name: 'gp', batchSize: 4 });
    await terminate(first);

    const worker = await startGpuWorker();
    const ended = new Promise((done) => worker.once('exit', done));
    expect((await run(inBatchesOf(4))).optimizer).toMatchObject({ batchSize: 4 });
    const expected = await run(inBatchesOf(8));
    const created = await runner.client.createJob(REQUEST);
    expect(created.optimizer).toMatchObject({ batchSize: 4 });
    let isLost = false;
    const following = runner.follow(created, (iteration) => {
      if (iteration < 2 || isLost) return;
      isLost = true;
      void writeFile(card, '');
    });
    expect(await ended).toBe(RECYCLE_STATUS);
    const waiting: Job = await runner.read(created.id);
    expect(waiting).toMatchObject({ status: 'queued', error: null, optimizer: { batchSize: 8 } });
    expect(waiting.progress.images).toBeGreaterThan(0);
    // A new process finds no card and does not start, so it takes no job that it would lose.
    await expect(startGpuWorker()).rejects.toThrow(/exited with 1/);
    expect((await runner.read(created.id)).status).toBe('queued');

    await rm(card);
    const other = await startGpuWorker();
    const { job } = await following;
    await terminate(other);
    expect(job).toMatchObject({ status: 'succeeded', error: null, optimizer: { batchSize: 8 } });
    expect(await runner.readPolicy(job)).toBe(expected.policy);
  });

  it('loses no samples either', async () => {
    await rm(card, { force: true });
    const worker = await startGpuWorker();
    const ended = new Promise((done) => worker.once('exit', done));
    await writeFile(card, '');
    const body = { prompt: 'a red book', reward: null, seed: 3, count: 2, steps: 1 };
    const response = await fetch(`${service.url}/v1/samples`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const { id } = (await response.json()) as { id: string };
    expect(await ended).toBe(RECYCLE_STATUS);
    await startCpuWorker();
    await expect
      .poll(async () => (await fetch(`${service.url}/v1/samples/${id}`)).json(), { timeout: 60_000 })
      .toMatchObject({ status: 'succeeded' });
  });
});
