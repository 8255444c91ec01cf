import type { Logger } from 'pino';
import { LiveCatalog } from '../../src/bundles/catalog.ts';
import { EMBEDDED_MODELS, readConfig } from '../../src/config/config.ts';
import { resolveJob } from '../../src/jobs/resolve-request.ts';
import { submitJob } from '../../src/jobs/submit.ts';
import { startBackgroundLoop } from '../../src/maintenance/background-loop.ts';
import { openStore, type Store, scopeStore, type TenantStore } from '../../src/store/store.ts';
import { NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { type RunningWebhooks, startWebhooks } from '../../src/webhooks/service.ts';
import { WorkerMetrics } from '../../workers/metrics/worker-metrics.ts';
import { type RunningWorker, takeWork } from '../../workers/worker.ts';
import { forgetfulBlobs } from './blobs.ts';
import { SimulatedClock } from './clock.ts';
import { simulatedEngine } from './engine.ts';
import type { SimulatedJob } from './workload.ts';

/** Images of a job, and of an iteration of its search: one iteration. */
export const [JOB_IMAGES, BATCH_IMAGES] = [8, 8];
/** Jobs that are submitted at the same time. */
const CONCURRENT_SUBMISSIONS = 50;
/** Workers that start at the same time. */
const CONCURRENT_STARTS = 20;
/** Simulated seconds in which workers wake together. */
export const TICK_SECONDS = 8;
/** Real time after which workers that do not go on have failed. */
const STALL_MS = 120_000;

/** A job that a worker has begun. */
export interface Start {
  readonly job: SimulatedJob;
  /** Simulated second. */
  readonly at: number;
}

/**
 * Workers on one key prefix of Redis with a clock of their own, and what an API runs beside HTTP.
 */
export class Fleet {
  readonly store: Store;
  /** In the order in which workers began. */
  readonly starts: Start[] = [];
  readonly #clock = new SimulatedClock(TICK_SECONDS);
  readonly #catalog: LiveCatalog;
  readonly #tenantStores = new Map<string, TenantStore>();
  /** By prompt. */
  readonly #submitted = new Map<string, SimulatedJob>();
  readonly #ended = new Set<string>();
  readonly #workers: RunningWorker[] = [];
  #services: { readonly webhooks: RunningWebhooks; stopBackgroundLoop(): void } | null = null;

  private constructor(store: Store, catalog: LiveCatalog) {
    this.store = store;
    this.#catalog = catalog;
  }

  /** Starts workers. */
  static async start(
    redisUrl: string,
    {
      prefix,
      workers,
      logger,
    }: { readonly prefix: string; readonly workers: number; readonly logger: Logger },
  ): Promise<Fleet> {
    // All workers share one process here, which may not get to renewing a thousand locks in time.
    const config = readConfig({ FINDERY_REDIS_PREFIX: prefix, FINDERY_LOCK_SECONDS: '600' });
    const catalog = await LiveCatalog.open([EMBEDDED_MODELS], () => {});
    // Thousands of connections are opened at once: commands have no time limit, as in workers.
    const fleet = new Fleet(await openStore(redisUrl, prefix, { failFast: false }), catalog);
    const blobs = forgetfulBlobs((id) => fleet.#endJob(id));
    const engine = simulatedEngine(fleet.#clock, (prompt) => fleet.#startJob(prompt));
    const start = () =>
      takeWork({ config, redisUrl, logger, engine, catalog, blobs, metrics: new WorkerMetrics() });
    for (let i = 0; i < workers; i += CONCURRENT_STARTS) {
      const count = Math.min(CONCURRENT_STARTS, workers - i);
      fleet.#workers.push(...(await Promise.all(Array.from({ length: count }, start))));
    }
    const { store } = fleet;
    const webhooks = startWebhooks({ config, store, logger });
    fleet.#services = { webhooks, stopBackgroundLoop: startBackgroundLoop(store, blobs, logger) };
    return fleet;
  }

  /** Simulated seconds since the start. */
  get now(): number {
    return this.#clock.now;
  }

  get ended(): number {
    return this.#ended.size;
  }

  /** Jobs that wait for a worker. */
  get queued(): number {
    return Math.max(0, this.#submitted.size - this.ended - this.#workers.length);
  }

  /** Submits jobs as the API does, without HTTP. */
  async submit(jobs: readonly SimulatedJob[]): Promise<void> {
    const left = jobs.values();
    const submitAll = async () => {
      for (const job of left) await this.#submitOne(job);
    };
    await Promise.all(Array.from({ length: CONCURRENT_SUBMISSIONS }, submitAll));
    await this.#settle();
  }

  /** Lets time pass until workers wake, or until `atMost`, and waits until they evaluate again. */
  async advance(atMost?: number): Promise<void> {
    this.#clock.advance(atMost);
    await this.#settle();
  }

  async stop(): Promise<void> {
    this.#services?.stopBackgroundLoop();
    await this.#services?.webhooks.close();
    await Promise.all(this.#workers.map((worker) => worker.close()));
    await this.store.close();
  }

  /** Waits until every worker that has something to do evaluates. */
  async #settle(): Promise<void> {
    const busy = () => Math.min(this.#workers.length, this.#submitted.size - this.ended);
    await this.#clock.waitFor(busy, STALL_MS);
  }

  async #submitOne(job: SimulatedJob): Promise<void> {
    const { number, tenant } = job;
    const prompt = `job ${number}`;
    this.#submitted.set(prompt, job);
    const request = {
      prompt,
      seed: number,
      optimizer: { name: 'best-of-n', batchSize: BATCH_IMAGES },
      budget: { images: JOB_IMAGES },
      reportDraws: 0,
    };
    const { settings, warnings } = resolveJob(request, await this.#catalog.now());
    const now = new Date().toISOString();
    await submitJob(this.#storeOf(tenant), settings, { warnings, requestId: 'simulate', now });
  }

  #storeOf(tenant: string): TenantStore {
    const known = this.#tenantStores.get(tenant);
    const own = known ?? scopeStore(this.store, { tenant, key: null, limits: NO_LIMITS });
    this.#tenantStores.set(tenant, own);
    return own;
  }

  #startJob(prompt: string): SimulatedJob {
    const job = this.#submitted.get(prompt);
    if (!job) throw new Error(`Nobody submitted "${prompt}".`);
    this.starts.push({ job, at: this.now });
    return job;
  }

  #endJob(id: string): void {
    this.#ended.add(id);
    this.#clock.notify();
  }
}
