import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WorkerInfo } from '../../src/contract/schemas/catalog.ts';
import type { Job, JobRequest } from '../../src/contract/schemas/job.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { createJobRunner } from '../support/job-runner.ts';
import { writeReward } from '../support/scoring-service.ts';
import { startTestService, type TestService, terminate } from '../support/test-service.ts';

/** One job on several real workers. Whatever happens to them, the policy has the same bytes. */
let service: TestService;
let store: Store;
let blobs: FileBlobs;
let runner: ReturnType<typeof createJobRunner>;
let folder: string;
let scorer: Server;

/** The scoring service answers slowly, so that several workers have shares at the same time. */
const SCORING_MS = 40;
/** The scoring service answers after this. */
let hold: Promise<unknown> = Promise.resolve();

beforeAll(async () => {
  scorer = createServer(async (request, response) => {
    const { images } = (await json(request)) as { images: { data: string }[] };
    const score = ({ data }: { data: string }) =>
      createHash('sha256').update(data).digest().readUInt32BE() / 2 ** 32;
    await Promise.all([sleep(SCORING_MS), hold]);
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ scores: images.map(score) }));
  }).listen(0, '127.0.0.1');
  await once(scorer, 'listening');
  folder = await mkdtemp(join(tmpdir(), 'findery-shares-'));
  const { port } = scorer.address() as AddressInfo;
  await writeReward(folder, 'slow', { type: 'http', url: `http://127.0.0.1:${port}/` });
  service = await startTestService({
    FINDERY_MODELS: [join(process.cwd(), 'models'), folder].join(':'),
    FINDERY_WARM: 'none',
    FINDERY_THREADS: '1',
  });
  const { REDIS_URL, FINDERY_REDIS_PREFIX, FINDERY_DATA } = service.environment;
  store = await openStore(String(REDIS_URL), String(FINDERY_REDIS_PREFIX), { failFast: true });
  blobs = new FileBlobs(join(String(FINDERY_DATA), 'blobs'));
  runner = createJobRunner(service);
});

afterAll(async () => {
  await store?.close();
  await service?.close();
  scorer.close();
  await rm(folder, { recursive: true, force: true });
});

const REQUEST: JobRequest = {
  prompt: 'a green dog on the grass',
  seed: 7,
  reward: [{ name: 'stickers-reward' }, { name: 'slow', weight: 0.1 }],
  optimizer: { name: 'gp', batchSize: 8 },
  budget: { images: 24 },
  sampler: { steps: 1, guidanceScale: 1 },
  samples: 2,
  reportDraws: 2,
  parallelism: 4,
};

/** Runs a job; `most` is the largest number of workers that took part in an iteration. */
async function run(request: JobRequest, onIteration: (job: Job, iteration: number) => void = () => {}) {
  const created = await runner.client.createJob(request);
  let most = 0;
  const job = await runner.client.follow(created, (type, data) => {
    if (type !== 'iteration') return;
    const { iteration, progress } = data as { iteration: number; progress: Job['progress'] };
    most = Math.max(most, progress.workers);
    onIteration(created, iteration);
  });
  return { job, most };
}

/** Policy, report, previews and samples of a job that succeeded. */
async function resultsOf(job: Job) {
  expect(job).toMatchObject({ status: 'succeeded', error: null });
  const read = async (path: string) => Buffer.from(await runner.client.bytes(path)).toString('base64');
  const { images } = await runner.client.getSample(String(job.sampleId));
  return {
    policy: await runner.readPolicy(job),
    report: job.report,
    rewards: await read(`${job.urls.rewards}?format=csv`),
    preview: await read(String(job.previewUrl)),
    samples: await Promise.all(images.map(({ url }) => read(url))),
  };
}

/** Neither Redis nor storage has anything of shares soon after. */
async function expectNothingLeft() {
  await expect.poll(() => store.redis.keys(`${store.keys.openShares()}*`)).toEqual([]);
  await expect.poll(() => Array.fromAsync(blobs.list('shares/'))).toEqual([]);
}

/** A share as `queue/lua/includes/shares.lua` has it. */
interface ShareState {
  readonly holder: string;
  readonly own: boolean;
  readonly gives: number;
}

async function findShare(jobId: string, isIt: (share: ShareState) => boolean) {
  const state = await store.redis.hget(store.keys.shares(jobId), 'state');
  return (JSON.parse(state ?? '[]') as ShareState[]).find(isIt);
}

async function waitForShare(jobId: string, isIt: (share: ShareState) => boolean): Promise<ShareState> {
  for (;;) {
    const share = await findShare(jobId, isIt);
    if (share) return share;
    await sleep(3);
  }
}

/** The process of the worker that has an unfinished share of the job, as helper or coordinator. */
async function findHolder(jobId: string, isOwn: boolean): Promise<{ holder: string; pid: number } | null> {
  const share = await findShare(jobId, ({ holder, own }) => holder !== '' && own === isOwn);
  if (!share) return null;
  const { holder } = share;
  const response = await fetch(`${service.url}/v1/workers`);
  const { data } = (await response.json()) as { data: WorkerInfo[] };
  const pid = data.find(({ id }) => id === holder)?.pid;
  return pid === undefined ? null : { holder, pid };
}

/** Stops the process of a worker that is in the middle of a share. @returns its id */
async function stopHolder(jobId: string, isOwn: boolean): Promise<number> {
  for (;;) {
    const found = await findHolder(jobId, isOwn);
    if (found === null) {
      await sleep(3);
      continue;
    }
    process.kill(found.pid, 'SIGSTOP');
    await sleep(30); // what it has sent arrives
    if ((await findHolder(jobId, isOwn))?.holder === found.holder) return found.pid;
    process.kill(found.pid, 'SIGCONT');
  }
}

let undisturbed: Awaited<ReturnType<typeof resultsOf>>;

describe('a job with `parallelism`', () => {
  // `npm run test:long` takes them all.
  const names = process.env.FINDERY_TEST_ALL ? ['gp', 'elites', 'find', 'snes'] : ['gp'];
  const optimizers = names.map((name) => ({ name, batchSize: 8 }));
  const alone: unknown[] = [];

  it('is done by one worker at once if there is no other', async () => {
    await service.startWorker();
    for (const optimizer of optimizers) {
      const { job, most } = await run({ ...REQUEST, optimizer });
      expect(most).toBe(1);
      alone.push(await resultsOf(job));
    }
    undisturbed = alone[0] as typeof undisturbed;
  });

  it('is done by its worker alone if the other one lacks its reward', async () => {
    let other: Promise<ChildProcess> | undefined;
    let returned: Promise<unknown> | undefined;
    const { job, most } = await run(REQUEST, ({ id }) => {
      other ??= service.startWorker({ FINDERY_MODELS: join(process.cwd(), 'models') });
      hold = other;
      // The helper has tried it, and no other helper may.
      returned ??= waitForShare(id, ({ holder, gives }) => holder === '' && gives === 2);
    });
    expect(await resultsOf(job)).toEqual(undisturbed);
    expect(most).toBe(1);
    await returned;
    if (other) await terminate(await other);
    await expectNothingLeft();
  });

  it('has the same results on 2 workers, both of which take part', async () => {
    await service.startWorker();
    const { job, most } = await run(REQUEST);
    expect(await resultsOf(job)).toEqual(undisturbed);
    expect(most).toBe(2);
    await expectNothingLeft();
  });

  it('is not helped by a worker that has a job of its own', async () => {
    const other = { ...REQUEST, parallelism: 1, budget: { images: 10_000 } };
    const { id } = await runner.client.createJob(other);
    await runner.waitForStatus(id, 'running');
    const { job, most } = await run(REQUEST);
    expect(await resultsOf(job)).toEqual(undisturbed);
    expect(most).toBe(1);
    await runner.act(id, 'cancel');
    await runner.waitForStatus(id, 'canceled');
  });

  it('has the same results on 4 workers', async () => {
    await service.startWorker();
    await service.startWorker();
    const counts: number[] = [];
    for (const [i, optimizer] of optimizers.entries()) {
      const { job, most } = await run({ ...REQUEST, optimizer });
      expect(await resultsOf(job)).toEqual(alone[i]);
      counts.push(most);
    }
    expect(Math.max(...counts)).toBe(4);
    await expectNothingLeft();
  });

  it('is done by no more workers than it asks for', async () => {
    const { job, most } = await run({ ...REQUEST, parallelism: 2 });
    expect(job).toMatchObject({ status: 'succeeded', parallelism: 2 });
    expect(most).toBe(2);
  });
});

describe('a job whose workers fail', () => {
  it('ends without a helper that stands still, whose late result changes nothing', async () => {
    let stopped: Promise<number> | undefined;
    const { job } = await run(REQUEST, ({ id }) => {
      stopped ??= stopHolder(id, false);
    });
    expect(await resultsOf(job)).toEqual(undisturbed);
    expect(job.attempts).toBe(1);
    process.kill(Number(await stopped), 'SIGCONT');
    await expectNothingLeft();
  });

  it('ends without a helper that is killed in the middle of a share', async () => {
    let killed: Promise<unknown> | undefined;
    const { job } = await run(REQUEST, ({ id }) => {
      killed ??= stopHolder(id, false).then((pid) => process.kill(pid, 'SIGKILL'));
    });
    await killed;
    expect(await resultsOf(job)).toEqual(undisturbed);
    expect(job.attempts).toBe(1);
    await expectNothingLeft();
  });

  it('continues on another worker when its own is killed while helpers have shares', async () => {
    let killed: Promise<unknown> | undefined;
    const { job } = await run(REQUEST, ({ id }) => {
      killed ??= stopHolder(id, true).then((pid) => process.kill(pid, 'SIGKILL'));
    });
    await killed;
    expect(await resultsOf(job)).toEqual(undisturbed);
    expect(job.attempts).toBe(2);
    await expectNothingLeft();
  });

  it('leaves nothing behind when it is canceled', async () => {
    const { job } = await run({ ...REQUEST, budget: { images: 10_000 } }, ({ id }, iteration) => {
      if (iteration === 2) void runner.act(id, 'cancel');
    });
    expect(job.status).toBe('canceled');
    await expectNothingLeft();
  });
});
