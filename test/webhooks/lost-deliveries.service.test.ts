import { expect, it } from 'vitest';
import { requeueAllLost, requeueWaiting } from '../../src/webhooks/requeue-lost.ts';
import { queueJob, readOk, succeedJob } from '../support/test-api.ts';
import { setUpWebhookApi, soon } from '../support/webhook-api.ts';

const webhook = setUpWebhookApi();

/** Creates a delivery whose first attempt failed, and removes its entry from the queue. */
async function loseDelivery(): Promise<string> {
  const { api, receiver } = webhook;
  await webhook.createEndpoint();
  receiver.answer = (response) => response.writeHead(503, { 'retry-after': '3600' }).end();
  const { id: job } = await queueJob(api);
  await succeedJob(api, job);
  await soon(async () => (await webhook.listDeliveries(`subjectId=${job}`))[0]?.attemptCount).toBe(1);
  const [{ id }] = await webhook.listDeliveries(`subjectId=${job}`);
  const { redis, keys, webhooks } = api.store;
  await soon(() => redis.zscore(`${keys.queuePrefix()}:webhooks:delayed`, `${id}.1`)).not.toBeNull();
  await redis.zrem(`${keys.queuePrefix()}:webhooks:delayed`, `${id}.1`);
  await redis.del(`${keys.queuePrefix()}:webhooks:${id}.1`);
  expect(await webhooks.queue.has(String(id), 1)).toBe(false);
  receiver.answer = (response) => response.writeHead(200).end();
  return String(id);
}

const statusOf = async (id: string) =>
  (await readOk(await webhook.api.get(`/v1/webhook-deliveries/${id}`), 200)).status;

it('redelivering a pending delivery that is in no queue attempts it', async () => {
  const id = await loseDelivery();
  await readOk(await webhook.api.post(`/v1/webhook-deliveries/${id}/redeliver`), 202);
  await soon(() => statusOf(id)).toBe('succeeded');
});

it('maintenance attempts pending deliveries that are in no queue', async () => {
  const id = await loseDelivery();
  expect(await requeueWaiting(webhook.api.store.webhooks)).toBe(1);
  await soon(() => statusOf(id)).toBe('succeeded');
  expect(await requeueWaiting(webhook.api.store.webhooks)).toBe(0);
});

it('a process that starts attempts those that are not among the waiting ones either', async () => {
  const { webhooks } = webhook.api.store;
  const id = await loseDelivery();
  await webhooks.markSettled({ id, tenant: 'default' });
  expect(await requeueWaiting(webhooks)).toBe(0);
  expect(await requeueAllLost(webhooks)).toBe(1);
  await soon(() => statusOf(id)).toBe('succeeded');
});

it('an attempt that could not be recorded does not drop the entry, even if it is the last one', async () => {
  const { api, receiver } = webhook;
  const { id: endpoint } = await webhook.createEndpoint();
  const { redis, keys } = api.store;
  // A test call has one attempt. The record can't be written once it was made.
  receiver.answer = async (response) => {
    const [id] = await redis.smembers(keys.webhookWaiting('default'));
    await redis.rename(keys.record(id), `${keys.record(id)}:away`);
    await redis.set(keys.record(id), 'not a record');
    receiver.answer = (next) => next.writeHead(200).end();
    response.writeHead(200).end();
  };
  await readOk(await api.post(`/v1/webhook-endpoints/${endpoint}/test`), 202);
  let id = '';
  await soon(async () => {
    [id] = await redis.smembers(keys.webhookWaiting('default'));
    return redis.zscore(`${keys.queuePrefix()}:webhooks:delayed`, `${id}.1`);
  }).not.toBeNull();
  await redis.rename(`${keys.record(id)}:away`, keys.record(id));
  await soon(() => statusOf(id)).toBe('succeeded');
});
