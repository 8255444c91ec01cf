import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blobFolder, readConfig } from '../../src/config/config.ts';
import type { Job } from '../../src/contract/schemas/job.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { createJobRunner, SHORT_JOB } from '../support/job-runner.ts';
import { writeReward } from '../support/scoring-service.ts';
import { startTestService, type TestService, terminate } from '../support/test-service.ts';

/** Jobs on real workers that stop and continue. Whatever happens, the policy has the same bytes. */
let service: TestService;
let runner: ReturnType<typeof createJobRunner>;
let worker: ChildProcess;
let folder: string;
let scorer: Server;
let isScorerBroken = false;

beforeAll(async () => {
  // A scoring service that can fail for a while; the score is a hash of the picture.
  scorer = createServer(async (request, response) => {
    const { images } = (await json(request)) as { images: { data: string }[] };
    const score = ({ data }: { data: string }) =>
      createHash('sha256').update(data).digest().readUInt32BE() / 2 ** 32;
    response.statusCode = isScorerBroken ? 400 : 200;
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
  runner = createJobRunner(service);
  worker = await service.startWorker();
});

afterAll(async () => {
  await service?.close();
  scorer.close();
  await rm(folder, { recursive: true, force: true });
});

const checkpoints = (id: string) =>
  Array.fromAsync(new FileBlobs(blobFolder(readConfig(service.environment))).list(`checkpoints/${id}`));

/** A worker deletes the checkpoints after the job has ended. */
const waitForNoCheckpoints = (id: string) => expect.poll(() => checkpoints(id)).toEqual([]);

describe('a running job', () => {
  it('whose first iteration can not be published publishes it when it continues', async () => {
    const run = async (job: Job) => {
      const iterations: number[] = [];
      const { job: ended } = await runner.follow(job, (iteration) => iterations.push(iteration));
      const rewards = await fetch(`${service.url}${ended.urls.rewards}?format=csv`);
      return { iterations, rewards: await rewards.text() };
    };
    const expected = await run(await runner.client.createJob(SHORT_JOB));
    // Pictures of other jobs keep their folder; a file in its place refuses new ones.
    const images = join(blobFolder(readConfig(service.environment)), 'images');
    await rename(images, `${images}-away`);
    await writeFile(images, '');
    const job = await runner.client.createJob(SHORT_JOB);
    await expect.poll(async () => (await runner.read(job.id)).attempts, { timeout: 60_000 }).toBe(2);
    await rm(images);
    await rename(`${images}-away`, images);
    expect(await run(job)).toEqual(expected);
  });

  it('that is paused frees its worker, and ends with the same policy', async () => {
    const expected = await runner.runUndisturbed(SHORT_JOB);
    const job = await runner.client.createJob(SHORT_JOB);
    let isPaused = false;
    const following = runner.follow(job, (iteration) => {
      if (iteration < 2 || isPaused) return;
      isPaused = true;
      void runner.act(job.id, 'pause').then(({ status }) => expect(status).toBe(202));
    });
    await runner.waitForStatus(job.id, 'paused');
    expect(await runner.read(job.id)).toMatchObject({ attempts: 1, finishedAt: null });
    // The only worker takes another job meanwhile.
    await runner.runUndisturbed({ ...SHORT_JOB, budget: { images: 4 } });
    expect((await runner.act(job.id, 'resume')).job.status).toMatch(/queued|running/);
    const { job: ended, names } = await following;
    expect(ended).toMatchObject({ status: 'succeeded', attempts: 2 });
    expect(names.filter((name) => name !== 'iteration' && name !== 'preview')).toEqual(
      // The second `running` of the second attempt is the stage `judging`.
      ['queued', 'running', 'paused', 'queued', 'running', 'running', 'succeeded', 'done'],
    );
    expect(await runner.readPolicy(ended)).toBe(expected);
    await waitForNoCheckpoints(job.id);
  });

  it('moves to another worker when its worker stops for longer than its lock, and ends once', async () => {
    const request = { ...SHORT_JOB, budget: { images: 60 } };
    const expected = await runner.runUndisturbed(request);
    const job = await runner.client.createJob(request);
    const first = worker;
    let isStopped = false;
    const following = runner.follow(job, (iteration) => {
      if (iteration < 2 || isStopped) return;
      isStopped = true;
      first.kill('SIGSTOP');
    });
    await runner.waitUntil(() => isStopped);
    worker = await service.startWorker();
    await expect.poll(async () => (await runner.read(job.id)).attempts, { timeout: 90_000 }).toBe(2);
    // Both workers run the job until the first one notices that it has lost it.
    first.kill('SIGCONT');
    const { job: ended, names } = await following;
    expect(ended).toMatchObject({ status: 'succeeded', attempts: 2 });
    expect(names.filter((name) => name === 'done')).toHaveLength(1);
    expect(names.filter((name) => name === 'succeeded')).toHaveLength(1);
    expect(await runner.readPolicy(ended)).toBe(expected);
    expect(await terminate(first)).toBe(0);
    await waitForNoCheckpoints(job.id);
  });

  it('ends at its deadline with what it has learned', async () => {
    const { job } = await runner.follow(
      await runner.client.createJob({ ...SHORT_JOB, budget: { images: 100_000 }, deadline: 3 }),
    );
    expect(job).toMatchObject({ status: 'expired', error: null, report: null });
    expect(await runner.client.getPolicy(job.policyId as string)).toMatchObject({
      report: null,
      model: 'stickers',
    });
    expect(job.progress.images).toBeGreaterThan(0);
    await waitForNoCheckpoints(job.id);
  });
});

describe('a failed job', () => {
  it('that is retried continues from its checkpoint and ends with the same policy', async () => {
    const request = { ...SHORT_JOB, reward: 'fragile' };
    const expected = await runner.runUndisturbed(request);
    const job = await runner.client.createJob(request);
    const { job: failed } = await runner.follow(job, (iteration) => {
      if (iteration === 2) isScorerBroken = true;
    });
    isScorerBroken = false;
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'reward-failed' } });
    expect(await checkpoints(job.id)).toHaveLength(1);
    expect(failed.progress.images).toBeGreaterThan(0);
    const { status, job: retried } = await runner.act(job.id, 'retry');
    expect(status).toBe(202);
    expect(retried).toMatchObject({ status: 'queued', error: null, policyId: failed.policyId });
    const { job: ended, names } = await runner.follow(job);
    expect(ended).toMatchObject({ status: 'succeeded', attempts: 2, progress: { images: 24 } });
    // The stream has the events before the failure once, and no longer its `done`.
    expect(names.filter((name) => name === 'done')).toHaveLength(1);
    expect(names).toContain('failed');
    expect(await runner.readPolicy(ended)).toBe(expected);
    await waitForNoCheckpoints(job.id);
  });
});
