import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../src/client/client.ts';
import { blobFolder, readConfig } from '../../src/config/config.ts';
import type { Job, JobRequest } from '../../src/contract/schemas/job.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { end, startTestService, type TestService } from '../support/processes.ts';
import { writeReward } from '../support/scorer.ts';

/** Jobs that are stopped and go on, in real workers: whatever comes in between, the policy has the same bytes. */

const REQUEST: JobRequest = {
  prompt: 'a green dog on the grass',
  seed: 7,
  optimizer: { name: 'elites', batchSize: 4 },
  budget: { images: 24 },
  sampler: { steps: 1, guidanceScale: 1 },
  reportDraws: 2,
};

/** Milliseconds that one test may take where other programs leave it little of the machine. */
const PATIENCE = 180_000;

let service: TestService;
let client: Client;
let worker: ChildProcess;
let folder: string;
let scorer: Server;
let isBroken = false;

beforeAll(async () => {
  // A reward of its own, which can be broken for a while: a hash of the picture.
  scorer = createServer(async (request, response) => {
    const { images } = (await json(request)) as { images: { data: string }[] };
    const score = ({ data }: { data: string }) =>
      createHash('sha256').update(data).digest().readUInt32BE() / 2 ** 32;
    response.statusCode = isBroken ? 400 : 200;
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ scores: images.map(score) }));
  }).listen(0, '127.0.0.1');
  await once(scorer, 'listening');
  folder = await mkdtemp(join(tmpdir(), 'findery-interruptions-'));
  const { port } = scorer.address() as AddressInfo;
  await writeReward(folder, 'fragile', { type: 'http', url: `http://127.0.0.1:${port}/` });
  service = await startTestService({
    FINDERY_MODELS: [join(process.cwd(), 'models'), folder].join(':'),
    FINDERY_WARM: 'none',
  });
  client = new Client(service.url);
  worker = await service.startWorker();
}, PATIENCE);

afterAll(async () => {
  await service?.close();
  scorer.close();
  await rm(folder, { recursive: true, force: true });
});

const act = async (id: string, action: string) => {
  const response = await fetch(`${service.url}/v1/jobs/${id}/${action}`, { method: 'POST' });
  return { status: response.status, job: (await response.json()) as Job };
};
const look = async (id: string) => (await (await fetch(`${service.url}/v1/jobs/${id}`)).json()) as Job;
const reaches = (id: string, status: string) =>
  expect.poll(async () => (await look(id)).status, { timeout: PATIENCE / 2, interval: 50 }).toBe(status);
const policy = async ({ policyId }: Job) =>
  Buffer.from(await client.bytes(`/v1/policies/${policyId}/parameters`)).toString('base64');
const checkpoints = (id: string) =>
  Array.fromAsync(new FileBlobs(blobFolder(readConfig(service.environment))).list(`checkpoints/${id}`));

/** They go after the end is told. */
const noCheckpoints = (id: string) => expect.poll(() => checkpoints(id)).toEqual([]);

/** Follows a job to its end and tells what its events were; `onIteration` may interfere. */
async function follow(job: Job, onIteration: (iteration: number) => void = () => {}) {
  const types: string[] = [];
  const ended = await client.follow(job, (type, data) => {
    types.push(type === 'status' ? (data as Job).status : type);
    if (type === 'iteration') onIteration((data as { iteration: number }).iteration);
  });
  return { job: ended, types };
}

/** A job with this request that nobody disturbs. */
async function undisturbed(request: JobRequest): Promise<string> {
  return policy((await follow(await client.createJob(request))).job);
}

describe('a running job', { timeout: PATIENCE }, () => {
  let expected: string;
  beforeAll(async () => {
    expected = await undisturbed(REQUEST);
  }, PATIENCE);

  it('that is paused gives its worker back, and goes on to the same bytes', async () => {
    const job = await client.createJob(REQUEST);
    let paused = false;
    const following = follow(job, (iteration) => {
      if (iteration < 2 || paused) return;
      paused = true;
      void act(job.id, 'pause').then(({ status }) => expect(status).toBe(202));
    });
    await reaches(job.id, 'paused');
    expect(await look(job.id)).toMatchObject({ attempts: 1, finishedAt: null });
    // The only worker is free for another one meanwhile.
    await undisturbed({ ...REQUEST, budget: { images: 4 } });
    expect((await act(job.id, 'resume')).job.status).toMatch(/queued|running/);
    const { job: ended, types } = await following;
    expect(ended).toMatchObject({ status: 'succeeded', attempts: 2 });
    expect(types.filter((type) => type !== 'iteration' && type !== 'preview')).toEqual(
      ['queued', 'running', 'paused', 'queued', 'running', 'running', 'succeeded', 'done'], // judging runs too
    );
    expect(await policy(ended)).toBe(expected);
    await noCheckpoints(job.id);
  });

  it('is given back within ten seconds when its worker is told to end', async () => {
    const job = await client.createJob(REQUEST);
    let began = 0;
    let ending: Promise<number | null> | undefined;
    const following = follow(job, (iteration) => {
      if (iteration < 2 || ending) return;
      began = performance.now();
      ending = end(worker);
    });
    await expect.poll(() => ending, { timeout: PATIENCE / 2 }).toBeDefined();
    expect(await ending).toBe(0);
    expect(performance.now() - began).toBeLessThan(10_000);
    expect((await look(job.id)).status).toBe('queued');
    worker = await service.startWorker();
    const { job: ended } = await following;
    expect(ended).toMatchObject({ status: 'succeeded', attempts: 2 });
    expect(await policy(ended)).toBe(expected);
  });

  it('whose worker stands still for longer than its lock is another’s, and the first can write over nothing', async () => {
    const request = { ...REQUEST, budget: { images: 60 } };
    const whole = await undisturbed(request);
    const job = await client.createJob(request);
    const [first] = [worker];
    let stopped = false;
    const following = follow(job, (iteration) => {
      if (iteration < 2 || stopped) return;
      stopped = true;
      first.kill('SIGSTOP');
    });
    await expect.poll(() => stopped, { timeout: PATIENCE / 2 }).toBe(true);
    worker = await service.startWorker();
    await expect.poll(async () => (await look(job.id)).attempts, { timeout: PATIENCE / 2 }).toBe(2);
    // Both at it at once, until the first finds out.
    first.kill('SIGCONT');
    const { job: ended, types } = await following;
    expect(ended).toMatchObject({ status: 'succeeded', attempts: 2 });
    expect(types.filter((type) => type === 'done')).toHaveLength(1);
    expect(types.filter((type) => type === 'succeeded')).toHaveLength(1);
    expect(await policy(ended)).toBe(whole);
    expect(await end(first)).toBe(0);
    await noCheckpoints(job.id);
  });

  it('is canceled within one denoising step, not after its images', async () => {
    // An iteration takes many seconds, a step a few milliseconds.
    const job = await client.createJob({
      ...REQUEST,
      optimizer: { name: 'elites', batchSize: 10 },
      sampler: { steps: 900, guidanceScale: 1 },
    });
    await reaches(job.id, 'running');
    await new Promise((resolve) => setTimeout(resolve, 500));
    const began = performance.now();
    expect((await act(job.id, 'cancel')).status).toBe(202);
    await reaches(job.id, 'canceled');
    expect(performance.now() - began).toBeLessThan(5000);
  });

  it('ends at its deadline with what it has learnt', async () => {
    const { job } = await follow(
      await client.createJob({ ...REQUEST, budget: { images: 100_000 }, deadline: 3 }),
    );
    expect(job).toMatchObject({ status: 'expired', error: null, report: null });
    expect(await client.getPolicy(job.policyId as string)).toMatchObject({ report: null, model: 'stickers' });
    expect(job.progress.images).toBeGreaterThan(0);
    await noCheckpoints(job.id);
  });
});

it('a failed job that is tried again goes on from its checkpoint, to the same bytes', {
  timeout: PATIENCE,
}, async () => {
  const request = { ...REQUEST, reward: 'fragile' };
  const expected = await undisturbed(request);
  const job = await client.createJob(request);
  const { job: failed } = await follow(job, (iteration) => {
    if (iteration === 2) isBroken = true;
  });
  isBroken = false;
  expect(failed).toMatchObject({ status: 'failed', error: { code: 'reward-failed' } });
  expect(await checkpoints(job.id)).toHaveLength(1);
  const spent = failed.progress.images;
  const { status, job: retried } = await act(job.id, 'retry');
  expect(status).toBe(202);
  expect(retried).toMatchObject({ status: 'queued', error: null, policyId: failed.policyId });
  const { job: ended, types } = await follow(job);
  expect(ended).toMatchObject({ status: 'succeeded', attempts: 2, progress: { images: 24 } });
  expect(spent).toBeGreaterThan(0);
  // One stream: what was told before the failure is told once, and that it had ended is taken back.
  expect(types.filter((type) => type === 'done')).toHaveLength(1);
  expect(types).toContain('failed');
  expect(await policy(ended)).toBe(expected);
  await noCheckpoints(job.id);
});
