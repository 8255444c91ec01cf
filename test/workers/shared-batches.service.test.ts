import type { ChildProcess } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../src/client/client.ts';
import type { Job, JobRequest } from '../../src/contract/schemas/job.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

/** Two jobs with nothing in common but the model. */
const REQUESTS: readonly JobRequest[] = [
  {
    prompt: 'a green dog on the grass',
    seed: 7,
    budget: { images: 16 },
    sampler: { steps: 2, guidanceScale: 1 },
    reportDraws: 4,
    samples: 4,
  },
  {
    prompt: 'a red book',
    seed: 8,
    budget: { images: 16 },
    sampler: { steps: 3, scheduler: 'euler', guidanceScale: 1 },
    reportDraws: 4,
    samples: 4,
  },
];

let service: TestService;
let client: Client;
let worker: ChildProcess;

beforeAll(async () => {
  service = await startTestService({
    FINDERY_SHARED_BATCHES: 'on',
    FINDERY_BATCH: '8',
    FINDERY_CONCURRENCY: '2',
  });
  client = new Client(service.url);
  worker = await service.startWorker();
});

afterAll(async () => service?.close());

/** Runs a job to its end. */
async function run(request: JobRequest, onIteration: () => void = () => {}): Promise<Job> {
  return client.follow(await client.createJob(request), (type) => {
    if (type === 'iteration') onIteration();
  });
}

/** The bytes of the policy and of the images. */
async function bytesOf(job: Job): Promise<Uint8Array[]> {
  const { images } = await client.getSample(job.sampleId as string);
  const urls = [`/v1/policies/${job.policyId}/parameters`, ...images.map(({ url }) => url)];
  return Promise.all(urls.map((url) => client.bytes(url)));
}

describe('two jobs whose denoiser runs are shared', () => {
  it('end with the bytes of each alone, also if their worker is killed', async () => {
    const alone: Uint8Array[][] = [];
    for (const request of REQUESTS) alone.push(await bytesOf(await run(request)));

    let iterations = 0;
    const onIteration = () => {
      if (++iterations !== 4) return;
      worker.once('exit', () => void service.startWorker().then((next) => (worker = next)));
      worker.kill('SIGKILL');
    };
    const beside = await Promise.all(REQUESTS.map((request) => run(request, onIteration)));
    expect(beside.map(({ status, attempts }) => [status, attempts])).toEqual([
      ['succeeded', 2],
      ['succeeded', 2],
    ]);
    for (const [i, job] of beside.entries()) expect(await bytesOf(job)).toEqual(alone[i]);
  });
});
