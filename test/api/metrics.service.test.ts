import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { LISTED_TENANTS } from '../../src/api/metrics/service-figures.ts';
import { OTHER } from '../../src/api/metrics/service-metrics.ts';
import { Client } from '../../src/client/client.ts';
import { newId } from '../../src/contract/ids.ts';
import { DOCKER, metricNames, readDashboard } from '../monitoring/dashboard.ts';
import { createKey } from '../support/api-keys.ts';
import { freePort } from '../support/redis-servers.ts';
import { parseMetrics, type ScrapedMetric } from '../support/scrape.ts';
import { expectProblem, PROMPT, queueJob, startTestApi, type TestApi } from '../support/test-api.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

const scrape = async (url: string) => parseMetrics(await (await fetch(url)).text());

/** The part of a file of rules that is read here. */
interface Rules {
  readonly groups: readonly { readonly rules: readonly { readonly expr: string }[] }[];
}

/** Metrics that the document says are absent in this test. */
const ABSENT = [
  'findery_gpu_memory_used_bytes',
  'findery_gpu_memory_total_bytes',
  'findery_redis_memory_max_bytes',
];

/** The tables of docs/metrics.md: type and labels by metric. */
function readDocument(): Map<string, { type: string; labels: string[] }> {
  const text = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'metrics.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `(findery_\w+)` \| (\w+) \| (.*?) \| .+ \|$/gm)];
  return new Map(
    rows.map(([, name, type, labels]) => [
      name,
      { type, labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label).sort() },
    ]),
  );
}

describe('the metrics of a service at work', () => {
  let service: TestService;
  let api: Map<string, ScrapedMetric>;
  let worker: Map<string, ScrapedMetric>;
  let job: { readonly id: string };

  beforeAll(async () => {
    const port = await freePort();
    service = await startTestService({ FINDERY_METRICS_PORT: String(port) });
    await service.startWorker();
    const client = new Client(service.url);
    const request = { prompt: PROMPT, budget: { images: 8 }, reportDraws: 2, samples: 1 };
    job = await client.follow(await client.createJob(request), () => {});
    // Later jobs stay in the queue while the worker has the first of them.
    const waiting = await Promise.all(
      [1, 2, 3].map((seed) => client.createJob({ prompt: PROMPT, seed, budget: { images: 1000 } })),
    );
    await fetch(`${service.url}/no/such/address`);
    await fetch(`${service.url}/metrics`); // its own request is in the next answer
    await vi.waitFor(async () => {
      const { series } = (await scrape(`${service.url}/metrics`)).get('findery_queue_entries') ?? {};
      if (series?.get('queue="optimize",state="active"') !== 1) throw new Error('no job is active yet');
    }, 30_000);
    [api, worker] = await Promise.all(
      [`${service.url}/metrics`, `http://127.0.0.1:${port}/metrics`].map(scrape),
    );
    await Promise.all(
      waiting.map(({ id }) => fetch(`${service.url}/v1/jobs/${id}/cancel`, { method: 'POST' })),
    );
  });
  afterAll(() => service.close());

  it('are those of the document, with these types and labels', () => {
    const documented = readDocument();
    const exported = new Map(
      [...api, ...worker]
        .filter(([name]) => name.startsWith('findery_'))
        .map(([name, { type, labels }]) => [name, { type, labels: [...labels] }]),
    );
    for (const name of ABSENT) expect(documented.delete(name), `${name} is documented`).toBe(true);
    expect(Object.fromEntries(exported)).toEqual(Object.fromEntries(documented));
  });

  it('follow the conventions of Prometheus', () => {
    for (const [name, { type, help }] of [...api, ...worker]) {
      if (!name.startsWith('findery_')) continue;
      expect(help, name).toMatch(/^[A-Z0-9].*\.$/);
      expect(name.endsWith('_total'), `${name} is a ${type}`).toBe(type === 'counter');
      expect(name).not.toMatch(/_(milliseconds|ms|minutes|mib|percent)(_|$)/);
      if (type === 'histogram') expect(name).toMatch(/_(seconds|ratio|deviations)$/);
    }
  });

  it('include everything that the dashboard and the rules read', () => {
    const { groups } = parse(readFileSync(join(DOCKER, 'prometheus', 'alerts.yaml'), 'utf8')) as Rules;
    const rules = groups.flatMap((group) => group.rules.map(({ expr }) => expr));
    const queries = readDashboard().flatMap(({ targets }) => targets.map(({ expr }) => expr));
    const read = metricNames([...queries, ...rules].join('\n'));
    expect(read.length).toBeGreaterThan(15);
    expect(read.filter((name) => !api.has(name) && !worker.has(name) && !ABSENT.includes(name))).toEqual([]);
  });

  it('count the ended job once, and the entries that wait', () => {
    expect(api.get('findery_jobs_ended_total')?.series.get('status="succeeded"')).toBe(1);
    const entries = api.get('findery_queue_entries')?.series;
    expect(entries?.get('queue="optimize",state="waiting"')).toBe(2);
    expect(entries?.get('queue="optimize",state="active"')).toBe(1);
    expect(api.get('findery_queue_tenant_waiting')?.series.get('queue="optimize",tenant="default"')).toBe(2);
    expect(api.get('findery_queue_model_waiting')?.series.get('queue="optimize",model="stickers"')).toBe(2);
    const age = api
      .get('findery_queue_model_oldest_seconds')
      ?.series.get('queue="optimize",model="stickers"');
    expect(age).toBeGreaterThan(0);
    expect(age).toBeLessThan(60);
    expect(api.get('findery_workers')?.series.get('')).toBe(1);
  });

  it('have routes as patterns, and no address of a client', () => {
    const { series } = api.get('findery_http_request_duration_seconds') as ScrapedMetric;
    const counts = [...series.keys()].filter((key) => key.startsWith('count{'));
    expect(counts).toContain('count{method="GET",route="/v1/jobs/:id/events",status="200"}');
    expect(counts).toContain('count{method="none",route="none",status="404"}');
    for (const key of series.keys()) expect(key).not.toMatch(new RegExp(`${job.id}|no/such`));
  });

  it('have each stage of the work, and the reward that it gained', () => {
    const { series } = worker.get('findery_stage_duration_seconds') as ScrapedMetric;
    const count = (stage: string, subject: string) =>
      series.get(`count{stage="${stage}",subject="${subject}"}`) ?? 0;
    for (const stage of ['text', 'denoise', 'decode'])
      expect(count(stage, 'stickers'), stage).toBeGreaterThan(0);
    expect(count('reward', 'stickers-reward')).toBeGreaterThan(0);
    for (const folder of ['images', 'policies', 'checkpoints', 'records'])
      expect(count('store', folder), folder).toBeGreaterThan(0);
    expect(count('text', 'stickers')).toBeLessThan(count('denoise', 'stickers')); // cached texts are left out
    // Warm-ups denoise, too, and are not measured.
    const batches = worker.get('findery_batch_fill_ratio')?.series.get('count{model="stickers"}');
    expect(count('denoise', 'stickers')).toBe(batches);
    const gains = worker.get('findery_reward_gain_deviations')?.series;
    expect(gains?.get('count{model="stickers",reward="stickers-reward"}')).toBe(1);
    // 8 images of the search, 2 x 2 of the report, 1 sample
    expect(worker.get('findery_images_total')?.series.get('model="stickers"')).toBeGreaterThanOrEqual(13);
  });
});

describe('the metrics of an API', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi();
  });
  afterAll(() => api.close());

  it('have a bounded number of tenants, those with the most entries', async () => {
    const tenants = Array.from(
      { length: LISTED_TENANTS + 5 },
      (_, i) => `tenant-${String(i).padStart(2, '0')}`,
    );
    for (const [i, tenant] of tenants.entries())
      for (let n = 0; n <= (i < 5 ? 0 : 1); n++)
        await api.store.queues.add('optimize', {
          id: newId('job'),
          tenant,
          priority: 'normal',
          model: 'not-installed',
        });
    const metrics = await scrape(`${api.url}/metrics`);
    const { series } = metrics.get('findery_queue_tenant_waiting') as ScrapedMetric;
    const listed = [...series].filter(([labels]) => labels.startsWith('queue="optimize"'));
    expect(listed.map(([labels]) => labels)).toEqual(
      [...tenants.slice(5), OTHER].map((tenant) => `queue="optimize",tenant="${tenant}"`),
    );
    expect(listed.at(-1)?.[1]).toBe(5);
    expect(metrics.get('findery_queue_model_waiting')?.series.get(`queue="optimize",model="${OTHER}"`)).toBe(
      5 + 2 * LISTED_TENANTS,
    );
  });

  it('forget an entry that left the queue unnoticed', async () => {
    const { id } = await queueJob(api);
    const { redis, queues } = api.store;
    const waiting = async () =>
      (await queues.figures('optimize', ['stickers'], 100)).models.map(([, entries]) => entries);
    expect(await waiting()).toEqual([1]);
    await redis.zrem(`${queues.prefix('optimize')}prioritized`, id);
    expect(await waiting()).toEqual([]);
  });

  it('are for keys with the scope metrics:read', async () => {
    const reader = await createKey(api, { scopes: ['read'] });
    await expectProblem(await api.get('/metrics', reader.headers), 403, 'forbidden');
    const scraper = await createKey(api, { scopes: ['metrics:read'] });
    const response = await api.get('/metrics', scraper.headers);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  });
});
