import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import autocannon from 'autocannon';
import { pino } from 'pino';
import { startApi } from '../src/api/server.ts';
import { ensureRedis } from '../src/cli/redis/ensure-redis.ts';
import { Client } from '../src/client/client.ts';
import { readConfig } from '../src/config/config.ts';
import type { Job } from '../src/contract/schemas/job.ts';

const JOBS = 20;
const CONNECTIONS = 10;
const SECONDS = 10;

export interface ServiceBench {
  /** Milliseconds from before POST /v1/jobs to the first denoising step on an idle worker, one per job. */
  readonly queueLatencies: readonly number[];
  /** GET /v1/jobs/{id} while that job runs; milliseconds. */
  readonly read: Reads & {
    readonly connections: number;
    /** Of the same job once it has ended and the worker is idle. */
    readonly idle: Reads;
    /** What the job made meanwhile. */
    readonly imagesPerSecond: number;
  };
}

interface Reads {
  readonly requestsPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly failed: number;
}

/** The real service (this process's API, a worker of its own, a private Redis in a folder that goes), from outside. */
export async function benchService(): Promise<ServiceBench> {
  const folder = await mkdtemp(join(tmpdir(), 'findery-bench-'));
  const redis = await ensureRedis({ dataDir: folder, log: () => {} });
  const settings = {
    ...process.env,
    FINDERY_DATA: folder,
    REDIS_URL: redis.url,
    PORT: '0',
    LOG_LEVEL: 'debug',
  };
  const config = readConfig(settings);
  const api = await startApi({ config, redisUrl: redis.url, logger: pino({ level: 'silent' }) });
  const worker = await startWorker(settings);
  const client = new Client(api.url);
  try {
    const queueLatencies: number[] = [];
    // The first is not counted.
    for (let i = 0; i <= JOBS; i++) queueLatencies.push(await timeQueue(client, worker, i));
    const read = await timeReads(client);
    return { queueLatencies: queueLatencies.slice(1), read };
  } finally {
    await worker.stop();
    await api.close();
    await redis.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function timeQueue(client: Client, worker: BenchWorker, seed: number): Promise<number> {
  await sleep(100); // the worker is idle again, and waits for the queue
  const began = Date.now();
  const job = await client.createJob({
    prompt: `a green dog, number ${seed}`,
    seed,
    budget: { images: 1 },
    sampler: { steps: 1 },
  });
  const at = await worker.firstStep(job.id);
  await cancel(client, job);
  return at - began;
}

async function timeReads(client: Client): Promise<ServiceBench['read']> {
  const job = await client.createJob({
    prompt: 'a green dog on the grass',
    seed: 1,
    budget: { images: 10_000 },
  });
  const imagesDone = async () =>
    ((await (await fetch(new URL(job.urls.self, client.url))).json()) as Job).progress.images;
  while ((await imagesDone()) === 0) await sleep(100);
  const before = await imagesDone();
  const busy = await load(client, job);
  const images = (await imagesDone()) - before;
  await cancel(client, job);
  const idle = await load(client, job);
  return { ...busy, idle, connections: CONNECTIONS, imagesPerSecond: images / SECONDS };
}

async function load(client: Client, job: Job): Promise<Reads> {
  // A thread of its own, so that the load does not wait for the API that it measures.
  const { requests, latency, non2xx, errors, timeouts } = await autocannon({
    url: `${client.url}${job.urls.self}`,
    connections: CONNECTIONS,
    duration: SECONDS,
    workers: 1,
  });
  const failed = non2xx + errors + timeouts;
  return { requestsPerSecond: requests.average, p50: latency.p50, p99: latency.p99, failed };
}

async function cancel(client: Client, job: Job): Promise<void> {
  await fetch(new URL(job.urls.cancel, client.url), { method: 'POST' });
  await client.follow(job, () => {});
}

interface BenchWorker {
  /** When the first denoising step of a job began, milliseconds since 1970. */
  firstStep(jobId: string): Promise<number>;
  stop(): Promise<void>;
}

/** `npm run worker`, whose debug log says when a job's first denoising step began. */
async function startWorker(environment: NodeJS.ProcessEnv): Promise<BenchWorker> {
  const child: ChildProcess = fork(fileURLToPath(new URL('../src/cli/worker.ts', import.meta.url)), {
    env: environment,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const starts = new Map<string, PromiseWithResolvers<number>>();
  const startOf = (jobId: string) => {
    const found = starts.get(jobId) ?? Promise.withResolvers<number>();
    starts.set(jobId, found);
    return found;
  };
  if (!child.stdout) throw new Error('The worker has no standard output.');
  createInterface(child.stdout).on('line', (line) => {
    const { jobId, at, msg } = JSON.parse(line) as { jobId?: string; at?: number; msg?: string };
    if (msg === 'first denoising step' && jobId && at) startOf(jobId).resolve(at);
  });
  await new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve());
    child.once('exit', (code) => reject(new Error(`The worker ended with ${code}.`)));
  });
  return {
    firstStep: (jobId) => startOf(jobId).promise,
    async stop() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
    },
  };
}
