import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Client } from '../../src/client/client.ts';
import type { Job, JobRequest } from '../../src/contract/schemas/job.ts';
import { type ScoringService, startScoringService, writeReward } from '../support/scoring-service.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

/** Jobs whose rewards are services, while workers are killed and services stop. */

const REQUEST: JobRequest = {
  prompt: 'a green dog on the grass',
  seed: 7,
  budget: { images: 20 },
  sampler: { steps: 2, guidanceScale: 1 },
};

let scorer: ScoringService;
let doomed: ScoringService;
let service: TestService;
let client: Client;
let worker: ChildProcess;
let folder: string;

beforeAll(async () => {
  [scorer, doomed] = await Promise.all([startScoringService(), startScoringService()]);
  folder = await mkdtemp(join(tmpdir(), 'findery-rewards-'));
  await writeReward(folder, 'green', { type: 'http', url: `${scorer.url}/good`, batchSize: 3 });
  await writeReward(folder, 'faints', { type: 'http', url: `${scorer.url}/faints`, retries: 0 });
  await writeReward(folder, 'tired', { type: 'http', url: `${scorer.url}/tired` });
  await writeReward(folder, 'last', { type: 'http', url: `${scorer.url}/last`, timeoutSeconds: 600 });
  await writeReward(folder, 'doomed', { type: 'http', url: `${doomed.url}/good`, retries: 1 });
  service = await startTestService({ FINDERY_MODELS: [join(process.cwd(), 'models'), folder].join(':') });
  client = new Client(service.url);
  worker = await service.startWorker();
});

afterAll(async () => {
  await service?.close();
  await Promise.all([scorer?.stop(), doomed?.stop()]);
  await rm(folder, { recursive: true, force: true });
});

/** Runs a job to its end; `onIteration` may interfere. */
async function run(request: Partial<JobRequest>, onIteration: () => void = () => {}): Promise<Job> {
  const job = await client.createJob({ ...REQUEST, ...request });
  return client.follow(job, (type) => {
    if (type === 'iteration') onIteration();
  });
}

const text = async (path: string) => Buffer.from(await client.bytes(path)).toString();
const rewards = (job: Job) => text(`${job.urls.rewards}?format=csv`);
const policy = (job: Job) => text(`/v1/policies/${job.policyId}/parameters`);

it('a job whose worker is killed ends elsewhere with the same bytes and scores of all terms', async () => {
  const reward = [
    { name: 'green' },
    { name: 'stickers-reward', weight: 0.5 },
    { name: 'jpeg-size', weight: -0.1 },
  ];
  const undisturbed = await run({ reward });
  expect(undisturbed.status).toBe('succeeded');
  let iterations = 0;
  const job = await run({ reward }, () => {
    iterations++;
    if (iterations !== 2) return;
    worker.once('exit', () => void service.startWorker().then((next) => (worker = next)));
    worker.kill('SIGKILL');
  });
  expect(job).toMatchObject({ status: 'succeeded', attempts: 2 });
  expect(await rewards(job)).toBe(await rewards(undisturbed));
  expect(await policy(job)).toBe(await policy(undisturbed));
  expect(job.report).toEqual(undisturbed.report);
  // The worker writes the `done` event; the API answers the same.
  expect(JSON.parse(await text(job.urls.self))).toEqual(job);
  const { report, reward: policyReward } = await client.getPolicy(job.policyId as string);
  expect([report, policyReward]).toEqual([job.report, job.reward]);
});

it('a job whose reward service is away for a moment continues and ends with the same bytes', async () => {
  const [interrupted, undisturbed] = [await run({ reward: 'faints' }), await run({ reward: 'faints' })];
  expect(interrupted).toMatchObject({ status: 'succeeded', attempts: 2 });
  expect(undisturbed).toMatchObject({ status: 'succeeded', attempts: 1 });
  expect(await rewards(interrupted)).toBe(await rewards(undisturbed));
  expect(await policy(interrupted)).toBe(await policy(undisturbed));
});

it('a job whose reward service is killed fails, and its partial policy can be sampled', async () => {
  let images = 0;
  const job = await run({ reward: [{ name: 'doomed' }, { name: 'jpeg-size', weight: 0.1 }] }, () => {
    images ||= 1;
    void doomed.stop();
  });
  expect(images).toBe(1);
  expect(job).toMatchObject({
    status: 'failed',
    attempts: 4,
    report: null,
    error: { code: 'reward-failed', detail: expect.stringMatching(/"doomed".*ECONN/) },
  });
  const lines = (await rewards(job)).trimEnd().split('\n');
  expect(lines[0]).toBe('image,iteration,reward,smoothed,terms.doomed,terms.jpeg-size');
  expect(await client.getPolicy(job.policyId as string)).toMatchObject({
    jobId: job.id,
    report: null,
    imagesSpent: lines.length - 1,
  });
  const path = `/v1/policies/${job.policyId}/samples`;
  await expect(client.sample(path, { count: 1 })).rejects.toThrow('"doomed"');
  expect((await client.sample(path, { count: 1, reward: null })).images).toMatchObject([{ reward: null }]);
  expect((await client.sample(path, { count: 1, reward: 'jpeg-size' })).images[0].reward).toBeGreaterThan(
    0.5,
  );
});

it('a reward service that stops at the samples fails job and samples, and the policy stays', async () => {
  const job = await run({ reward: 'tired', samples: 2 });
  expect(job).toMatchObject({ status: 'failed', error: { code: 'reward-failed' }, report: { draws: 32 } });
  expect(await client.getPolicy(job.policyId as string)).toMatchObject({
    report: job.report,
    imagesSpent: 20 + 64,
  });
  expect(await client.getSample(job.sampleId as string)).toMatchObject({
    status: 'failed',
    images: [],
    error: { code: 'reward-failed' },
    finishedAt: expect.any(String),
  });
});

it('a cancel with keepPartial while the samples are made keeps the judged policy', async () => {
  const created = await client.createJob({ ...REQUEST, reward: 'last', samples: 2 });
  const job = await client.follow(created, (type, data) => {
    if (type !== 'status' || (data as { stage: string }).stage !== 'sampling') return;
    void fetch(new URL(created.urls.cancel, service.url), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"keepPartial": true}',
    });
  });
  expect(job).toMatchObject({ status: 'canceled', report: { draws: 32 } });
  expect(await client.getPolicy(job.policyId as string)).toMatchObject({ report: job.report });
});
