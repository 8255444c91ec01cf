import { describe, expect, it } from 'vitest';
import { trimDeliveries } from '../../src/webhooks/trim.ts';
import { queueJob, readOk, succeedJob } from '../support/test-api.ts';
import { SECRET, setUpWebhookApi, soon } from '../support/webhook-api.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

const webhooks = setUpWebhookApi();

describe('a delivery', () => {
  it('can be redelivered: a waiting one at once, an ended one once more', async () => {
    webhooks.receiver.answer = (response, count) =>
      response.writeHead(count === 1 ? 503 : 204, { 'retry-after': '3000' }).end();
    const { id } = await queueJob(webhooks.api, { webhook: { url: webhooks.receiver.url, secret: SECRET } });
    await succeedJob(webhooks.api, id);
    await webhooks.receiver.wait(1);
    await soon(async () => (await webhooks.listDeliveries(`subjectId=${id}`))[0]?.attemptCount).toBe(1);
    const [waiting] = await webhooks.listDeliveries(`subjectId=${id}`);
    expect(Date.parse(String(waiting.nextAttemptAt)) - Date.now()).toBeGreaterThan(2_900_000);
    const redeliver = () => webhooks.api.post(`/v1/webhook-deliveries/${waiting.id}/redeliver`);
    await readOk(await redeliver(), 202);
    await webhooks.receiver.wait(2);
    await soon(async () => (await webhooks.listDeliveries(`subjectId=${id}`))[0].status).toBe('succeeded');
    expect(await readOk(await redeliver(), 202)).toMatchObject({ status: 'pending' });
    const requests = await webhooks.receiver.wait(3);
    expect(new Set(requests.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    await soon(async () => (await webhooks.listDeliveries(`subjectId=${id}`))[0].status).toBe('succeeded');
    expect((await webhooks.listDeliveries(`subjectId=${id}`))[0]).toMatchObject({ attemptCount: 3 });
  });

  it('does not follow redirects, and reports them', async () => {
    const other = await WebhookReceiver.start();
    webhooks.receiver.answer = (response) => response.writeHead(307, { location: other.url }).end();
    const { id } = await webhooks.createEndpoint();
    expect(await webhooks.testEndpoint(id)).toMatchObject({
      status: 'failed',
      attempts: [{ status: 307, error: expect.stringMatching(/redirects are not followed/) }],
    });
    expect(other.received).toEqual([]);
    await other.close();
  });

  it('is not sent after its URL became forbidden', async () => {
    const { id } = await webhooks.createEndpoint();
    // As after a change of the configuration since the endpoint was created.
    await webhooks.api.store.webhooks.endpoints.change(id, {
      set: { url: webhooks.receiver.url.replace('127.0.0.1', '127.0.0.2') },
    });
    expect(await webhooks.testEndpoint(id)).toMatchObject({
      status: 'failed',
      attempts: [{ status: null, error: expect.stringMatching(/FINDERY_WEBHOOK_ALLOW/) }],
    });
    expect(webhooks.receiver.received).toEqual([]);
  });
});

describe('stored deliveries', () => {
  it('are removed by age and by number once they have ended', async () => {
    const store = webhooks.api.store.webhooks;
    const now = Date.now();
    await trimDeliveries(store, now + 30 * 86_400_000);
    expect(
      (await store.deliveries.list({ limit: 100 })).data.filter(({ status }) => status !== 'pending'),
    ).toEqual([]);
    webhooks.receiver.answer = (response, count) =>
      response.writeHead(count === 1 ? 500 : 204, { 'retry-after': '900' }).end();
    const ids: string[] = [];
    for (let i = 1; i <= 5; i++) {
      const { id } = await queueJob(webhooks.api, {
        webhook: { url: webhooks.receiver.url, secret: SECRET },
      });
      await succeedJob(webhooks.api, id);
      await webhooks.receiver.wait(i);
      ids.push(id);
    }
    const stored = async () => {
      const { data } = await store.deliveries.list({
        limit: 100,
        filter: ({ subjectId }) => ids.includes(subjectId ?? ''),
      });
      return data.map(({ subjectId, status }) => `${ids.indexOf(subjectId ?? '')} ${status}`);
    };
    await soon(stored).toEqual(['4 succeeded', '3 succeeded', '2 succeeded', '1 succeeded', '0 pending']);
    const before = await store.deliveries.count();
    const bodies = (await webhooks.api.store.redis.keys(webhooks.api.store.keys.webhookBody('*'))).length;
    expect(await trimDeliveries(store, now, before)).toBe(0);
    expect(await trimDeliveries(store, now, before - 2)).toBe(2);
    expect(await stored()).toEqual(['4 succeeded', '3 succeeded', '0 pending']);
    // The bodies of the removed ones are gone, those of the others are there.
    const { redis, keys } = webhooks.api.store;
    expect(await redis.keys(keys.webhookBody('*'))).toHaveLength(bodies - 2);
    expect(await trimDeliveries(store, now + 6 * 86_400_000)).toBe(0);
    expect(await trimDeliveries(store, now + 8 * 86_400_000)).toBe(2);
    expect(await stored()).toEqual(['0 pending']);
  });

  it('are created although another notice of the outbox is broken', async () => {
    const { redis, keys } = webhooks.api.store;
    const broken = JSON.stringify({ type: 'job.failed', event: 'evt_0', id: 'job_broken', at: '!' });
    await redis.hset(keys.record('job_broken'), 'status', 'failed', 'webhook', 'no JSON');
    await redis.zadd(keys.outbox(), 0, broken);
    const { id } = await queueJob(webhooks.api, { webhook: { url: webhooks.receiver.url, secret: SECRET } });
    await succeedJob(webhooks.api, id);
    await webhooks.receiver.wait(1);
    await soon(() => webhooks.api.store.webhooks.outbox.size()).toBe(1);
    await redis.zrem(keys.outbox(), broken);
  });
});
