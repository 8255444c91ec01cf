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

/** Result of `benchService`. */
export interface ServiceBench {
  /**
   * Milliseconds from before POST /v1/jobs to the first denoising step on an idle worker, for each
   * job.
   */
  readonly queueLatencies: readonly number[];
  /** Latency of GET /v1/jobs/{id} while that job runs. */
  readonly read: Reads & {
    readonly connections: number;
    /** Latency for the same job after its end, with an idle worker. */
    readonly idle: Reads;
    /** Throughput of the job while it was read. */
    readonly imagesPerSecond: number;
  };
}

/** Latencies are milliseconds. */
interface Reads {
  readonly requestsPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly failed: number;
}

/**
 * Measures a service over HTTP: an API in this process, a worker process and a private Redis in a
 * temporary folder.
 */
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
    // The first job warms up and is not counted.
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
  await sleep(100); // by now the worker waits for the queue again
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
  // In a worker thread, because the API runs in this thread.
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
  /** Time of the first denoising step of a job, milliseconds since 1970. */
  firstStep(jobId: string): Promise<number>;
  stop(): Promise<void>;
}

/**
 * Starts a worker as `npm run worker` does. Its debug log has the time of a job's first denoising
 * step.
 */
async function startWorker(environment: NodeJS.ProcessEnv): Promise<BenchWorker> {
  const child: ChildProcess = fork(fileURLToPath(new URL('../src/cli/worker.ts', import.meta.url)), {
    env: environment,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const starts = new Map<string, PromiseWithResolvers<number>>();
  const firstStepOf = (jobId: string) => {
    const found = starts.get(jobId) ?? Promise.withResolvers<number>();
    starts.set(jobId, found);
    return found;
  };
  if (!child.stdout) throw new Error('The worker has no standard output.');
  createInterface(child.stdout).on('line', (line) => {
    const { jobId, at, msg } = JSON.parse(line) as { jobId?: string; at?: number; msg?: string };
    if (msg === 'first denoising step' && jobId && at) firstStepOf(jobId).resolve(at);
  });
  await new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve());
    child.once('exit', (code) => reject(new Error(`The worker exited with ${code}.`)));
  });
  return {
    firstStep: (jobId) => firstStepOf(jobId).promise,
    async stop() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
    },
  };
}
