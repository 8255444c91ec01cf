import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findRedisServer } from '../../src/cli/redis/private-redis.ts';
import {
  expectProblem,
  PROMPT,
  queueJob,
  readOk,
  startTestApi,
  succeedJob,
  type TestApi,
  timed,
} from '../support/test-api.ts';

/** A Redis of its own, because these tests stop it. */
let port: number;
let folder: string;
let server: ChildProcess;
let api: TestApi;

async function startRedis(): Promise<ChildProcess> {
  const program = (await findRedisServer(process.env.PATH ?? '')) ?? 'redis-server';
  const settings = [
    '--bind',
    '127.0.0.1',
    '--port',
    String(port),
    '--appendonly',
    'yes',
    '--appendfsync',
    'always',
  ];
  const child = spawn(program, [...settings, '--dir', folder, '--save', ''], {
    stdio: 'ignore',
    env: { ...process.env, LC_ALL: 'C' },
  });
  const client = new Redis(port, { retryStrategy: () => 25, maxRetriesPerRequest: null });
  client.on('error', () => {});
  await client.ping();
  client.disconnect();
  return child;
}

beforeAll(async () => {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  ({ port } = probe.address() as { port: number });
  probe.close();
  folder = await mkdtemp(join(tmpdir(), 'findery-redis-'));
  server = await startRedis();
  api = await startTestApi({ redisUrl: `redis://127.0.0.1:${port}` });
});

afterAll(async () => {
  await api.close();
  server.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

/** Expects 503 for every request that needs Redis. */
async function expectUnavailable(id: string): Promise<void> {
  const requests = [
    api.get(`/v1/jobs/${id}`),
    api.get(`/v1/jobs/${id}`, { prefer: 'wait=30' }),
    api.get(`/v1/jobs/${id}/events`),
    api.get('/v1/jobs'),
    api.get('/v1/workers'),
    api.post('/v1/jobs', { prompt: PROMPT }),
    api.post('/v1/samples', { prompt: PROMPT }),
    api.post(`/v1/jobs/${id}/cancel`),
  ];
  const readiness = api.get('/readyz');
  for (const response of await Promise.all(requests)) {
    expect(response.headers.get('retry-after')).toBe('2');
    const { detail } = await expectProblem(response, 503, 'unavailable');
    expect(detail).toMatch(/Redis does not answer at the moment\. Try again/);
    expect(detail).not.toMatch(/127\.0\.0\.1|ECONN/);
  }
  expect((await expectProblem(await readiness, 503, 'unavailable')).detail).toMatch(/^Redis does not answer/);
}

describe('while Redis is away', () => {
  let id: string;
  beforeAll(async () => {
    ({ id } = await queueJob(api));
  });

  it('requests get 503, and all records are there when it is back', async () => {
    server.kill('SIGTERM');
    await once(server, 'exit');
    await expectUnavailable(id);
    expect(await readOk(await api.get('/healthz'), 200)).toEqual({ status: 'ok' });
    const metrics = await api.get('/metrics');
    expect(metrics.status).toBe(200);
    expect(await metrics.text()).toMatch(/^findery_redis_up 0$/m);
    server = await startRedis();
    await expect.poll(async () => (await api.get(`/v1/jobs/${id}`)).status, { timeout: 5000 }).toBe(200);
    expect((await api.store.jobs.list({ limit: 9 })).data.map((job) => job.id)).toEqual([id]);
  });

  it('held requests are woken again after it is back', async () => {
    await expect.poll(async () => api.store.redis.pubsub('NUMSUB', api.store.keys.changes())).toContain(2);
    const held = timed(() => api.get(`/v1/jobs/${id}`, { prefer: 'wait=20' }));
    await new Promise((resolve) => setTimeout(resolve, 200));
    await api.store.jobs.change(id, { set: { status: 'running' } });
    const [milliseconds, response] = await held;
    expect(await readOk(response, 200)).toMatchObject({ status: 'running' });
    expect(milliseconds).toBeLessThan(2000);
  });

  it('requests get 503 within seconds when it is reachable but silent', async () => {
    server.kill('SIGSTOP');
    const [milliseconds] = await timed(() => expectUnavailable(id)).finally(() => server.kill('SIGCONT'));
    expect(milliseconds).toBeLessThan(10_000);
    await succeedJob(api, id);
    expect(await readOk(await api.get(`/v1/jobs/${id}`), 200)).toMatchObject({ status: 'succeeded' });
  });
});
