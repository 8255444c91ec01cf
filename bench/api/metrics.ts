import { setTimeout as sleep } from 'node:timers/promises';
import { quantile } from '../../src/numerics/statistics.ts';
import { BODY } from './comparisons.ts';
import { fillQueue } from './fill-queue.ts';
import type { Row } from './report.ts';
import { request } from './request.ts';
import type { Server } from './servers.ts';

const TENANTS = Array.from({ length: 100 }, (_, i) => `tenant-${i}`);
const QUEUED = 10_000;
const SCRAPES = 200;
const PAUSE_MS = 20;

/**
 * Measures `GET /metrics` while many tenants have jobs queued, after requests to several routes.
 */
export async function benchMetrics(
  service: Server,
  redisUrl: string,
): Promise<{ rows: Row[]; figures: object }> {
  await fillQueue(redisUrl, QUEUED, TENANTS);
  for (const [method, path, body] of [
    ['POST', '/v1/jobs', BODY],
    ['POST', '/v1/jobs', '{"prompt": 5'],
    ['GET', '/v1/jobs'],
    ['GET', '/v1/jobs/job_00000000000000000000000000'],
    ['POST', '/v1/samples', { prompt: BODY.prompt }],
    ['GET', '/v1/models'],
    ['GET', '/v1/rewards'],
    ['GET', '/v1/queues'],
    ['GET', '/v1/workers'],
    ['GET', '/nothing'],
  ] as const)
    await request(method, service.url + path, body);

  const scrape = async () => {
    const began = performance.now();
    const { status, text } = await request('GET', `${service.url}/metrics`);
    if (status !== 200 || !text.includes('findery_redis_up 1')) throw new Error(`/metrics: ${status}`);
    return { milliseconds: performance.now() - began, bytes: text.length };
  };
  for (let i = 0; i < SCRAPES / 10; i++) await scrape(); // compiles what is run for the first time
  const latencies: number[] = [];
  let bytes = 0;
  const cpuBefore = await service.cpu();
  for (let i = 0; i < SCRAPES; i++) {
    const one = await scrape();
    latencies.push(one.milliseconds);
    ({ bytes } = one);
    await sleep(PAUSE_MS);
  }
  const cpu = ((await service.cpu()) - cpuBefore) / SCRAPES;
  const p = (share: number) => quantile(latencies, share);
  return {
    figures: { latencies, bytes, cpu },
    rows: [
      {
        what: `GET /metrics, ${TENANTS.length} tenants, ${QUEUED.toLocaleString('en')} jobs queued, p50`,
        value: `${p(0.5).toFixed(1)} ms (${(bytes / 1024).toFixed(0)} KiB)`,
        target: '',
        met: null,
      },
      {
        what: 'the same, p99 (maximum)',
        value: `${p(0.99).toFixed(1)} ms (${p(1).toFixed(1)} ms)`,
        target: '< 20 ms',
        met: p(0.99) < 20,
      },
      {
        what: 'processor time of the API for a scrape',
        value: `${cpu.toFixed(1)} ms`,
        target: '',
        met: null,
      },
    ],
  };
}
