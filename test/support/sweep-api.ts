import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { derivedId, newId } from '../../src/contract/ids.ts';
import { DEFAULT_TENANT } from '../../src/contract/tenants.ts';
import type { RetentionLimits } from '../../src/maintenance/sweep/retention-limits.ts';
import { type SweepReport, sweep } from '../../src/maintenance/sweep/sweep.ts';
import { sha256Of } from '../../src/sha256.ts';
import { encodePolicy } from '../../src/storage/policy-file.ts';
import { PROMPT, queueJob, readOk, startTestApi, type TestApi } from './test-api.ts';

/** Limits that nothing exceeds. */
export const NO_RETENTION_LIMITS: RetentionLimits = { days: null, jobs: null, samples: null };

/** RFC 3339 time before now. */
export const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();

/** An API with empty Redis and storage for each test. */
export interface SweepApi {
  readonly api: TestApi;
  /** Sweeps with `limits` for every tenant. */
  sweep(limits: Partial<RetentionLimits>, options?: { isDry?: boolean }): Promise<SweepReport | null>;
  /** Whether GET answers 200. */
  isThere(path: string): Promise<boolean>;
}

/** Registers the hooks that start the API and empty it before each test. */
export function setUpSweepApi(): SweepApi {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi();
  });
  afterAll(() => api.close());
  beforeEach(async () => {
    const keys = await api.store.redis.keys(`${api.config.redisPrefix}:*`);
    if (keys.length > 0) await api.store.redis.del(...keys);
    for (const key of await Array.fromAsync(api.blobs.list(''))) await api.blobs.delete(key);
  });
  return {
    get api() {
      return api;
    },
    sweep: (limits, { isDry = false } = {}) =>
      sweep(api.store, api.blobs, {
        limitsOf: () => ({ ...NO_RETENTION_LIMITS, ...limits }),
        now: Date.now(),
        isDry,
      }),
    isThere: async (path) => (await api.get(path)).status === 200,
  };
}

/** Runs the command line for `api`. @param keepDays value of FINDERY_KEEP_DAYS */
export function findery(api: TestApi, keepDays: string, ...args: string[]) {
  const { path, host, port } = api.store.redis.options;
  const env = {
    ...process.env,
    REDIS_URL: path ?? `redis://${host}:${port}`,
    FINDERY_REDIS_PREFIX: api.config.redisPrefix,
    FINDERY_DATA: api.config.dataFolder,
    FINDERY_KEEP_DAYS: keepDays,
  };
  return promisify(execFile)('bin/findery', args, { env });
}

/** Creates a job that ended `days` ago, with a policy and a preview. Returns their ids. */
export async function createEndedJob(
  api: TestApi,
  days: number,
): Promise<{ job: string; policy: string; preview: string }> {
  const { id } = await queueJob(api);
  await api.store.queues.remove('optimize', id);
  const policy = derivedId('pol', id);
  const preview = newId('img');
  const record = await api.store.jobs.get(id);
  const distribution = {
    shape: [4, 16, 16],
    mean: new Float32Array(1024),
    std: Float32Array.of(1),
    weights: Float32Array.of(1),
  };
  const file = encodePolicy(distribution, { prompt: PROMPT });
  await api.blobs.put(`policies/${policy}.safetensors`, file);
  const { prompt, negativePrompt, model, reward, sampler, optimizer, seed, warnings } = record;
  await api.store.policies.create({
    id: policy,
    tenant: record.tenant,
    createdAt: daysAgo(days),
    origin: 'job',
    jobId: id,
    distribution: { kind: 'gaussian', components: 1, shape: distribution.shape },
    summary: {},
    report: null,
    imagesSpent: 1,
    seconds: 1,
    bytes: file.byteLength,
    sha256: sha256Of(file),
    ...{ prompt, negativePrompt, model, reward, sampler, optimizer, seed, warnings },
  });
  await putImage(api, preview, id);
  await api.store.jobs.change(id, {
    set: { status: 'succeeded', finishedAt: daysAgo(days), policyId: policy },
  });
  return { job: id, policy, preview };
}

async function putImage(api: TestApi, id: string, parent: string): Promise<void> {
  const key = `images/${id}.png`;
  await api.blobs.put(key, Uint8Array.of(1));
  await api.store.images.create(
    { id, tenant: DEFAULT_TENANT, key, width: 1, height: 1, format: 'png', createdAt: daysAgo(0) },
    { parent },
  );
}

/**
 * Creates a batch of samples. Returns its id.
 * @param policy null for samples of the base model
 * @param ended how many days ago it ended; null when it waits
 */
export async function createSample(
  api: TestApi,
  policy: string | null,
  ended: number | null,
): Promise<string> {
  const path = policy ? `/v1/policies/${policy}/samples` : '/v1/samples';
  const { id } = await readOk(
    await api.post(path, policy ? { count: 1 } : { prompt: PROMPT, count: 1 }),
    202,
  );
  if (ended !== null) {
    await api.store.queues.remove('sample', String(id));
    await putImage(api, newId('img'), String(id));
    const times = { createdAt: daysAgo(ended), finishedAt: daysAgo(ended) };
    await api.store.samples.change(String(id), { set: { status: 'succeeded', ...times } });
  }
  return String(id);
}
