import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createJobRunner, SHORT_JOB } from '../support/job-runner.ts';
import { startTestService, type TestService, terminate } from '../support/test-service.ts';

let service: TestService;
let runner: ReturnType<typeof createJobRunner>;
let worker: ChildProcess;

beforeAll(async () => {
  service = await startTestService({
    FINDERY_MODELS: join(process.cwd(), 'models'),
    FINDERY_WARM: 'none',
  });
  runner = createJobRunner(service);
  worker = await service.startWorker();
});

afterAll(async () => service?.close());

describe('a running job', () => {
  it('is given back within ten seconds of SIGTERM and ends elsewhere with the same policy', async () => {
    const expected = await runner.runUndisturbed(SHORT_JOB);
    const job = await runner.client.createJob(SHORT_JOB);
    let began = 0;
    let ending: Promise<number | null> | undefined;
    const following = runner.follow(job, (iteration) => {
      if (iteration < 2 || ending) return;
      began = performance.now();
      ending = terminate(worker);
    });
    await runner.waitUntil(() => ending !== undefined);
    expect(await ending).toBe(0);
    expect(performance.now() - began).toBeLessThan(10_000);
    expect((await runner.read(job.id)).status).toBe('queued');
    worker = await service.startWorker();
    const { job: ended } = await following;
    expect(ended).toMatchObject({ status: 'succeeded', attempts: 2 });
    expect(await runner.readPolicy(ended)).toBe(expected);
  });

  it('is canceled within one denoising step, not after its images', async () => {
    // An iteration takes many seconds, a step a few milliseconds.
    const job = await runner.client.createJob({
      ...SHORT_JOB,
      optimizer: { name: 'elites', batchSize: 10 },
      sampler: { steps: 900, guidanceScale: 1 },
    });
    await runner.waitForStatus(job.id, 'running');
    await new Promise((resolve) => setTimeout(resolve, 500));
    const began = performance.now();
    expect((await runner.act(job.id, 'cancel')).status).toBe(202);
    await runner.waitForStatus(job.id, 'canceled');
    expect(performance.now() - began).toBeLessThan(5000);
  });
});
