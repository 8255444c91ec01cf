import { afterAll, beforeAll, expect, it } from 'vitest';
import { openStore, type Store } from '../../src/store/store.ts';
import { createJobRunner, SHORT_JOB } from '../support/job-runner.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

/** A Redis that is full for a while, longer than the lock of a job. */
let service: TestService;
let store: Store;
let runner: ReturnType<typeof createJobRunner>;
const FULL_MS = 5000;
const JOB = { ...SHORT_JOB, samples: 2 };

beforeAll(async () => {
  service = await startTestService({ FINDERY_WARM: 'none' });
  const { REDIS_URL, FINDERY_REDIS_PREFIX } = service.environment;
  store = await openStore(String(REDIS_URL), String(FINDERY_REDIS_PREFIX), { failFast: true });
  runner = createJobRunner(service);
  await service.startWorker();
});
afterAll(async () => {
  await store.close();
  await service.close();
});

it('jobs that run or wait meanwhile end with the same bytes when there is room again', async () => {
  const expected = await runner.runUndisturbed(JOB);
  const running = await runner.client.createJob(JOB);
  const waiting = await runner.client.createJob(JOB);
  let isFull = false;
  const following = runner.follow(running, (iteration) => {
    if (iteration < 2 || isFull) return;
    isFull = true;
    void store.redis.config('SET', 'maxmemory', '1mb');
    setTimeout(() => void store.redis.config('SET', 'maxmemory', '0'), FULL_MS);
  });
  for (const { job } of [await following, await runner.follow(waiting)]) {
    expect(job).toMatchObject({ status: 'succeeded', sampleId: expect.any(String) });
    expect(await runner.readPolicy(job)).toBe(expected);
    expect(await store.samples.get(String(job.sampleId))).toMatchObject({ status: 'succeeded' });
  }
  expect(isFull).toBe(true);
});
