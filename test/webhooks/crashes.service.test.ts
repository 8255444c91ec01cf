import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { ensureRedis, type RedisService } from '../../src/cli/redis/ensure-redis.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { type ApiProcess, startApiProcess } from '../support/api-processes.ts';
import { PROMPT } from '../support/test-api.ts';
import { verify, WebhookReceiver } from '../support/webhook-receiver.ts';

/** API processes that are killed, as in a crash. */
let redis: RedisService;
let folder: string;
let store: Store;
let receiver: WebhookReceiver;
let environment: { [name: string]: string };
const apis: ApiProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-webhooks-'));
  redis = await ensureRedis({ url: process.env.REDIS_URL, dataDir: folder, log: () => {} });
  environment = {
    REDIS_URL: redis.url,
    FINDERY_DATA: folder,
    FINDERY_REDIS_PREFIX: `test-${randomBytes(6).toString('hex')}`,
    FINDERY_WEBHOOK_ALLOW: '127.0.0.1',
    FINDERY_WEBHOOK_RETRY_SECONDS: '1',
    FINDERY_LOCK_SECONDS: '2',
  };
  store = await openStore(redis.url, environment.FINDERY_REDIS_PREFIX, { failFast: true });
});
afterAll(async () => {
  const keys = await store.redis.keys(`${environment.FINDERY_REDIS_PREFIX}:*`);
  if (keys.length > 0) await store.redis.del(...keys);
  await store.close();
  await redis.stop();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  receiver = await WebhookReceiver.start();
});
afterEach(async () => {
  await Promise.all(apis.splice(0).map((api) => api.kill()));
  await receiver.close();
});

async function startApi(): Promise<ApiProcess> {
  const api = await startApiProcess(environment);
  apis.push(api);
  return api;
}

async function queueJob({ url }: ApiProcess): Promise<{ id: string; secret: string }> {
  const response = await fetch(`${url}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: PROMPT, webhook: { url: `${receiver.url}?token=hidden-in-the-query` } }),
  });
  expect(response.status).toBe(202);
  const { id, webhook } = (await response.json()) as { id: string; webhook: { secret: string } };
  return { id, secret: webhook.secret };
}

const succeed = (id: string) => store.jobs.change(id, { set: { status: 'succeeded' } });
const outcomes = async (id: string) => {
  const { data } = await store.webhooks.deliveries.list({
    limit: 10,
    filter: ({ subjectId }) => subjectId === id,
  });
  return data.map(({ status }) => status);
};

it('events of a killed process are delivered by the next one, from any stage', async () => {
  const api = await startApi();
  const [tried, leased, ended] = [await queueJob(api), await queueJob(api), await queueJob(api)];
  // The process is killed during the delivery of the first event.
  receiver.answer = () => {};
  await succeed(tried.id);
  const [first] = await receiver.wait(1);
  await api.kill();
  // The second event is leased but not queued, as by a process that died in between. No process has
  // seen the third event.
  await succeed(leased.id);
  expect(await store.webhooks.outbox.lease(10, 2)).toHaveLength(1);
  await succeed(ended.id);
  expect(await store.webhooks.outbox.size()).toBe(2);

  receiver.answer = (response) => response.writeHead(200).end();
  const next = await startApi();
  const requests = await receiver.wait(4, 30_000);
  for (const { id, secret } of [tried, leased, ended]) {
    const own = requests.filter(({ body }) => body.includes(id));
    expect(own.map((request) => verify(request, secret))).toEqual(
      own.map(() =>
        expect.objectContaining({ type: 'job.succeeded', data: expect.objectContaining({ id }) }),
      ),
    );
    expect(own).toHaveLength(id === tried.id ? 2 : 1);
    if (id === tried.id) {
      expect(own[1].headers['webhook-id']).toBe(first.headers['webhook-id']);
      expect(own[1].body).toBe(first.body);
    }
    await expect.poll(() => outcomes(id), { timeout: 10_000 }).toEqual(['succeeded']);
  }
  expect(await store.webhooks.outbox.size()).toBe(0);

  // Neither process has logged a secret or a query.
  await expect.poll(() => next.log(), { timeout: 10_000 }).toMatch(/webhook delivered/);
  for (const { secret } of [tried, leased, ended])
    for (const log of [api.log(), next.log()]) expect(log).not.toContain(secret.slice('whsec_'.length));
  for (const log of [api.log(), next.log()]) expect(log).not.toContain('hidden-in-the-query');
});
