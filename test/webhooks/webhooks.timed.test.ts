import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startApi } from '../../src/api/server.ts';
import { newId } from '../../src/contract/ids.ts';
import { recordKey } from '../../src/jobs/archive.ts';
import { expireOverdue } from '../../src/jobs/expire.ts';
import { openStore } from '../../src/store/store.ts';
import { trimDeliveries } from '../../src/webhooks/trim.ts';
import { Receiver, verify } from '../support/receiver.ts';
import {
  type Answer,
  expectProblem,
  PROMPT,
  queueJob,
  readOk,
  startTestApi,
  succeedJob,
  type TestApi,
  timed,
} from '../support/service.ts';

/** No worker runs here: what a worker does to a job, these tests do through the store. */
let api: TestApi;
let receiver: Receiver;

beforeAll(async () => {
  api = await startTestApi({ webhookAllow: ['127.0.0.1'], webhookRetrySeconds: 1 });
});
afterAll(() => api.close());
beforeEach(async () => {
  receiver = await Receiver.start();
});
afterEach(async () => {
  const { data } = (await readOk(await api.get('/v1/webhook-endpoints?limit=100'), 200)) as {
    data: Answer[];
  } & Answer;
  for (const { id } of data) await api.send('DELETE', `/v1/webhook-endpoints/${id}`);
  await receiver.close();
});

const SECRET = `whsec_${Buffer.from('a secret of thirty-two bytes, yes').toString('base64')}`;

/** What `look` gives, within ten seconds. */
const soon = <T>(look: () => T | Promise<T>) => expect.poll(look, { timeout: 10_000, interval: 20 });

async function createEndpoint(body: object = {}): Promise<Answer & { id: string; secret: string }> {
  const answer = await readOk(await api.post('/v1/webhook-endpoints', { url: receiver.url, ...body }), 201);
  return answer as Answer & { id: string; secret: string };
}

const test = async (id: string) =>
  readOk(await api.post(`/v1/webhook-endpoints/${id}/test`, undefined, { prefer: 'wait=20' }), 200);

async function deliveries(query: string): Promise<Answer[]> {
  return (await readOk(await api.get(`/v1/webhook-deliveries?${query}`), 200)).data as Answer[];
}

describe('the webhook of a job', () => {
  it('is told how the job ended, signed so that the public library verifies it', async () => {
    const { id, webhook } = await queueJob(api, { webhook: { url: receiver.url, secret: SECRET } });
    expect(webhook).toEqual({
      url: receiver.url,
      events: ['job.succeeded', 'job.failed', 'job.canceled', 'job.expired', 'job.paused'],
    });
    await succeedJob(api, id);
    const [request] = await receiver.wait(1);
    expect(request.headers).toMatchObject({
      'content-type': 'application/json',
      'user-agent': expect.stringMatching(/^findery\//),
    });
    const told = verify(request, SECRET);
    expect(told).toMatchObject({ type: 'job.succeeded', timestamp: expect.stringMatching(/^\d{4}-.*Z$/) });
    expect(told.data).toEqual(await readOk(await api.get(`/v1/jobs/${id}`), 200));
    expect(() => verify({ ...request, body: request.body.replace('succeeded', 'failed') }, SECRET)).toThrow(
      /signature/,
    );

    await soon(async () => (await deliveries(`subjectId=${id}`))[0]?.status).toBe('succeeded');
    expect(await deliveries(`subjectId=${id}`)).toMatchObject([
      {
        object: 'webhook-delivery',
        eventId: request.headers['webhook-id'],
        type: 'job.succeeded',
        endpointId: null,
        url: receiver.url,
        attemptCount: 1,
        attempts: [{ status: 204, error: null }],
        nextAttemptAt: null,
      },
    ]);
  });

  it('gets a secret where it has none, shown to who sent the request and to nobody after', async () => {
    const headers = { 'idempotency-key': `webhook ${Date.now()}` };
    const body = { webhook: { url: receiver.url } };
    const { id, webhook } = (await queueJob(api, body, headers)) as {
      id: string;
      webhook: { secret: string };
    };
    expect(webhook.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    // The answer may have been lost on its way.
    expect((await queueJob(api, body, headers)).webhook).toEqual(webhook);
    await succeedJob(api, id);
    const [request] = await receiver.wait(1);
    verify(request, webhook.secret);
    const secret = webhook.secret.slice('whsec_'.length);
    for (const path of [`/v1/jobs/${id}`, '/v1/jobs', `/v1/jobs/${id}/events`, '/v1/webhook-deliveries'])
      expect(await (await api.get(path)).text()).not.toContain(secret);
    expect(request.body).not.toContain(secret);
  });

  it('is told of the events that it asked for alone', async () => {
    const webhook = { url: receiver.url, secret: SECRET, events: ['job.canceled'] };
    const { id } = await queueJob(api, { webhook });
    await succeedJob(api, id);
    const other = await queueJob(api, { webhook });
    await readOk(await api.post(`/v1/jobs/${other.id}/cancel`), 200);
    const [request] = await receiver.wait(1);
    expect(verify(request, SECRET)).toMatchObject({
      type: 'job.canceled',
      data: { id: other.id, status: 'canceled' },
    });
    expect(receiver.received).toHaveLength(1);
    expect(await deliveries(`subjectId=${id}`)).toEqual([]);
  });

  it('is told of a pause, and of an end that no worker brings', async () => {
    const { id } = await queueJob(api, { webhook: { url: receiver.url, secret: SECRET }, deadline: 3600 });
    await readOk(await api.post(`/v1/jobs/${id}/pause`), 200);
    const [paused] = await receiver.wait(1);
    expect(verify(paused, SECRET)).toMatchObject({ type: 'job.paused', data: { id, status: 'paused' } });
    await expireOverdue(api.store, api.blobs, Date.now() + 7_200_000);
    const [, expired] = await receiver.wait(2);
    expect(verify(expired, SECRET)).toMatchObject({ type: 'job.expired', data: { id, status: 'expired' } });
  });

  it('is told again, under a new id, when a job that was tried again fails again', async () => {
    const { id } = await queueJob(api, { webhook: { url: receiver.url, secret: SECRET } });
    const fail = async () => {
      await api.store.queues.remove('optimize', id);
      return api.store.jobs.change(id, { set: { status: 'failed', finishedAt: new Date().toISOString() } });
    };
    expect(await fail()).toBe('done');
    await receiver.wait(1);
    await readOk(await api.post(`/v1/jobs/${id}/retry`), 202);
    expect(await fail()).toBe('done');
    const [first, second] = await receiver.wait(2);
    expect(verify(second, SECRET)).toMatchObject({ type: 'job.failed', data: { id, status: 'failed' } });
    expect(second.headers['webhook-id']).not.toBe(first.headers['webhook-id']);
  });

  it('comes with an id of one’s own too, its secret shown to who sends the request again', async () => {
    const id = newId('job');
    const put = async () => {
      const body = JSON.stringify({ prompt: PROMPT, webhook: { url: receiver.url } });
      const headers = { 'content-type': 'application/json' };
      const answer = await readOk(await api.send('PUT', `/v1/jobs/${id}`, headers, body), 202);
      return answer.webhook as { secret: string };
    };
    const { secret } = await put();
    expect(await put()).toMatchObject({ secret });
    await readOk(await api.post(`/v1/jobs/${id}/cancel`), 200);
    const [request] = await receiver.wait(1);
    verify(request, secret);
    const archived = Buffer.from((await api.blobs.get(recordKey(id))) ?? []).toString();
    expect(archived).toContain(receiver.url);
    expect(archived, 'no secret lies beside the bytes').not.toContain(secret.slice('whsec_'.length));
  });

  it('is not told twice when a job ends once more as it has', async () => {
    const { id } = await queueJob(api, { webhook: { url: receiver.url, secret: SECRET } });
    await succeedJob(api, id);
    await succeedJob(api, id);
    await receiver.wait(1);
    await soon(() => api.store.webhooks.outbox.size()).toBe(0);
    expect(await deliveries(`subjectId=${id}`)).toHaveLength(1);
  });
});

describe('a delivery', () => {
  it('is tried again after growing pauses, with the same id and body, until it is taken', async () => {
    receiver.answer = (response, count) => response.writeHead(count < 3 ? 500 : 200).end('words');
    const { id } = await queueJob(api, { webhook: { url: receiver.url, secret: SECRET } });
    await succeedJob(api, id);
    const requests = await receiver.wait(3);
    for (const request of requests) verify(request, SECRET);
    expect(new Set(requests.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(new Set(requests.map(({ body }) => body)).size).toBe(1);
    expect(requests[1].at - requests[0].at).toBeGreaterThan(750);
    expect(requests[2].at - requests[1].at).toBeGreaterThan(2300);
    await soon(async () => (await deliveries(`subjectId=${id}`))[0].status).toBe('succeeded');
    expect((await deliveries(`subjectId=${id}`))[0]).toMatchObject({
      attemptCount: 3,
      attempts: [
        { status: 500, error: expect.stringMatching(/500.*2xx/) },
        { status: 500 },
        { status: 200, error: null },
      ],
    });
  });

  it('that waits can be hurried, and one that has ended can be made once more', async () => {
    receiver.answer = (response, count) =>
      response.writeHead(count === 1 ? 503 : 204, { 'retry-after': '3000' }).end();
    const { id } = await queueJob(api, { webhook: { url: receiver.url, secret: SECRET } });
    await succeedJob(api, id);
    await receiver.wait(1);
    await soon(async () => (await deliveries(`subjectId=${id}`))[0]?.attemptCount).toBe(1);
    const [waiting] = await deliveries(`subjectId=${id}`);
    expect(Date.parse(String(waiting.nextAttemptAt)) - Date.now()).toBeGreaterThan(2_900_000);
    const again = () => api.post(`/v1/webhook-deliveries/${waiting.id}/redeliver`);
    await readOk(await again(), 202);
    await receiver.wait(2);
    await soon(async () => (await deliveries(`subjectId=${id}`))[0].status).toBe('succeeded');
    expect(await readOk(await again(), 202)).toMatchObject({ status: 'pending' });
    const requests = await receiver.wait(3);
    expect(new Set(requests.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    await soon(async () => (await deliveries(`subjectId=${id}`))[0].status).toBe('succeeded');
    expect((await deliveries(`subjectId=${id}`))[0]).toMatchObject({ attemptCount: 3 });
  });

  it('that is being made when its process is asked to end is given back, and is no attempt', async () => {
    receiver.answer = () => {}; // never
    const config = { ...api.config, redisPrefix: `${api.config.redisPrefix}:ending` };
    const start = () => startApi({ config, redisUrl: api.redisUrl, logger: pino({ level: 'silent' }) });
    const store = await openStore(api.redisUrl, config.redisPrefix, { failFast: false });
    const first = await start();
    const response = await fetch(`${first.url}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: PROMPT, webhook: { url: receiver.url } }),
    });
    const { id } = (await response.json()) as { id: string };
    await store.jobs.change(id, { set: { status: 'failed' } });
    await receiver.wait(1);
    const [milliseconds] = await timed(() => first.close());
    expect(milliseconds).toBeLessThan(5000);
    const look = async () => (await store.webhooks.deliveries.list({ limit: 1 })).data[0];
    expect(await look()).toMatchObject({ status: 'pending', attemptCount: 0, attempts: [] });

    receiver.answer = (response) => response.writeHead(204).end();
    const second = await start();
    await soon(look).toMatchObject({ status: 'succeeded', attemptCount: 1 });
    await second.close();
    await store.close();
  });

  it('does not follow redirects, and says so', async () => {
    const other = await Receiver.start();
    receiver.answer = (response) => response.writeHead(307, { location: other.url }).end();
    const { id } = await createEndpoint();
    expect(await test(id)).toMatchObject({
      status: 'failed',
      attempts: [{ status: 307, error: expect.stringMatching(/redirects are not followed/) }],
    });
    expect(other.received).toEqual([]);
    await other.close();
  });

  it('goes nowhere after its address became a forbidden one', async () => {
    const { id } = await createEndpoint();
    // As if the configuration had been another one when it was created.
    await api.store.webhooks.endpoints.change(id, {
      set: { url: receiver.url.replace('127.0.0.1', '127.0.0.2') },
    });
    expect(await test(id)).toMatchObject({
      status: 'failed',
      attempts: [{ status: null, error: expect.stringMatching(/FINDERY_WEBHOOK_ALLOW/) }],
    });
    expect(receiver.received).toEqual([]);
  });
});

describe('webhook endpoints', () => {
  it('are told of every job and sample, whoever queued them', async () => {
    const { id, secret, ...rest } = await createEndpoint({ description: 'mine' });
    expect(rest).toMatchObject({
      object: 'webhook-endpoint',
      url: receiver.url,
      description: 'mine',
      enabled: true,
    });
    const job = await queueJob(api);
    await succeedJob(api, job.id);
    const sample = await readOk(await api.post('/v1/samples', { prompt: PROMPT }), 202);
    await api.store.samples.change(String(sample.id), { set: { status: 'failed' } });
    const requests = await receiver.wait(2);
    const told = requests
      .map((request) => verify(request, secret))
      .sort((a, b) => (a.type < b.type ? -1 : 1));
    expect(told).toMatchObject([
      { type: 'job.succeeded', data: { object: 'job', id: job.id } },
      { type: 'sample.failed', data: { object: 'sample', id: sample.id } },
    ]);
    expect(await deliveries(`endpointId=${id}`)).toHaveLength(2);
    expect(await deliveries(`endpointId=${id}&limit=1&subjectId=${job.id}`)).toHaveLength(1);
  });

  it('never show their secret again', async () => {
    const { id, secret } = await createEndpoint({ secret: SECRET });
    expect(secret).toBe(SECRET);
    for (const path of ['/v1/webhook-endpoints', `/v1/webhook-endpoints/${id}`])
      expect(await (await api.get(path)).text()).not.toMatch(/secret|whsec/);
  });

  it('sign with the old secret too for a while after a rotation', async () => {
    const { id, secret } = await createEndpoint();
    const rotated = await readOk(await api.post(`/v1/webhook-endpoints/${id}/rotate-secret`), 200);
    await test(id);
    const [both] = await receiver.wait(1);
    expect(verify(both, secret)).toMatchObject({ type: 'webhook.test', data: { endpointId: id } });
    verify(both, String(rotated.secret));
    const last = await readOk(
      await api.post(`/v1/webhook-endpoints/${id}/rotate-secret`, { secret: SECRET, keepSeconds: 0 }),
      200,
    );
    expect(last.secret).toBe(SECRET);
    await test(id);
    const [, alone] = await receiver.wait(2);
    verify(alone, SECRET);
    for (const old of [secret, String(rotated.secret)]) expect(() => verify(alone, old)).toThrow(/signature/);
  });

  it('are disabled by 410 until they are enabled again', async () => {
    const { id } = await createEndpoint();
    receiver.answer = (response) => response.writeHead(410).end();
    const first = await queueJob(api);
    await succeedJob(api, first.id);
    await soon(async () => readOk(await api.get(`/v1/webhook-endpoints/${id}`), 200)).toMatchObject({
      enabled: false,
      disabledReason: expect.stringMatching(/410/),
    });
    const second = await queueJob(api);
    await succeedJob(api, second.id);
    await soon(() => api.store.webhooks.outbox.size()).toBe(0);
    expect(receiver.received).toHaveLength(1);
    expect(await deliveries(`subjectId=${second.id}`)).toEqual([]);
    await expectProblem(await api.post(`/v1/webhook-endpoints/${id}/test`), 409, 'conflict');

    receiver.answer = (response) => response.writeHead(204).end();
    const patch = await fetch(`${api.url}/v1/webhook-endpoints/${id}`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ enabled: true, events: ['job.failed'] }),
    });
    expect(await readOk(patch, 200)).toMatchObject({
      enabled: true,
      disabledReason: null,
      events: ['job.failed'],
    });
    const [failed] = await deliveries(`subjectId=${first.id}`);
    expect(failed).toMatchObject({ status: 'failed', attemptCount: 1 });
    await readOk(await api.post(`/v1/webhook-deliveries/${failed.id}/redeliver`), 202);
    await receiver.wait(2);
  });

  it('that are deleted are told nothing, not even what waits', async () => {
    receiver.answer = (response) => response.writeHead(500).end();
    const { id } = await createEndpoint();
    const job = await queueJob(api);
    await succeedJob(api, job.id);
    await receiver.wait(1);
    expect((await api.send('DELETE', `/v1/webhook-endpoints/${id}`)).status).toBe(204);
    await expectProblem(await api.get(`/v1/webhook-endpoints/${id}`), 410, 'gone');
    await soon(async () => (await deliveries(`subjectId=${job.id}`))[0]).toMatchObject({
      status: 'failed',
      attempts: [{ status: 500 }, { error: 'the endpoint was deleted' }],
    });
    expect(receiver.received).toHaveLength(1);
  });

  it('are at most 32', async () => {
    for (let i = 0; i < 32; i++) await createEndpoint();
    const problem = await expectProblem(
      await api.post('/v1/webhook-endpoints', { url: receiver.url }),
      422,
      'not-possible',
    );
    expect(problem.detail).toMatch(/32/);
  });
});

describe('what is kept', () => {
  it('ends with its time, and with its number; what waits for an attempt stays', async () => {
    const { webhooks } = api.store;
    const now = Date.now();
    await trimDeliveries(webhooks, now + 30 * 86_400_000);
    expect(
      (await webhooks.deliveries.list({ limit: 100 })).data.filter(({ status }) => status !== 'pending'),
    ).toEqual([]);
    receiver.answer = (response, count) =>
      response.writeHead(count === 1 ? 500 : 204, { 'retry-after': '900' }).end();
    const ids: string[] = [];
    for (let i = 1; i <= 5; i++) {
      const { id } = await queueJob(api, { webhook: { url: receiver.url, secret: SECRET } });
      await succeedJob(api, id);
      await receiver.wait(i);
      ids.push(id);
    }
    const kept = async () => {
      const { data } = await webhooks.deliveries.list({
        limit: 100,
        accept: ({ subjectId }) => ids.includes(subjectId ?? ''),
      });
      return data.map(({ subjectId, status }) => `${ids.indexOf(subjectId ?? '')} ${status}`);
    };
    await soon(kept).toEqual(['4 succeeded', '3 succeeded', '2 succeeded', '1 succeeded', '0 pending']);
    const before = await webhooks.deliveries.count();
    expect(await trimDeliveries(webhooks, now, before)).toBe(0);
    expect(await trimDeliveries(webhooks, now, before - 2)).toBe(2);
    expect(await kept()).toEqual(['4 succeeded', '3 succeeded', '0 pending']);
    expect(await trimDeliveries(webhooks, now + 6 * 86_400_000)).toBe(0);
    expect(await trimDeliveries(webhooks, now + 8 * 86_400_000)).toBe(2);
    expect(await kept()).toEqual(['0 pending']);
  });

  it('lets nothing that can not be told hold up the rest', async () => {
    const { redis, keys, webhooks } = api.store;
    const broken = JSON.stringify({ type: 'job.failed', event: 'evt_0', id: 'job_broken', at: '!' });
    await redis.hset(keys.record('job_broken'), 'status', 'failed', 'webhook', 'no JSON');
    await redis.zadd(keys.outbox(), 0, broken);
    const { id } = await queueJob(api, { webhook: { url: receiver.url, secret: SECRET } });
    await succeedJob(api, id);
    await receiver.wait(1);
    await soon(() => webhooks.outbox.size()).toBe(1);
    await redis.zrem(keys.outbox(), broken);
  });
});
