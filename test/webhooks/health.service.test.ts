import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import { createDelivery } from '../../src/webhooks/dispatch.ts';
import { expectProblem, type JsonAnswer, readOk, startTestApi, type TestApi } from '../support/test-api.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

let api: TestApi;
let receiver: WebhookReceiver;
let id: string;
beforeAll(async () => {
  api = await startTestApi({ webhookAllow: ['127.0.0.1'], webhookRetrySeconds: 1 });
});
afterAll(() => api.close());
beforeEach(async () => {
  receiver = await WebhookReceiver.start();
  receiver.answer = (response) => response.writeHead(500).end();
  id = String((await readOk(await api.post('/v1/webhook-endpoints', { url: receiver.url }), 201)).id);
});
afterEach(async () => {
  await api.send('DELETE', `/v1/webhook-endpoints/${id}`);
  await receiver.close();
});

const endpoint = async () => readOk(await api.get(`/v1/webhook-endpoints/${id}`), 200);
const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();
const failSince = (days: number) =>
  api.store.webhooks.endpoints.change(id, { set: { failingSince: daysAgo(days) } });
const patch = async (body: object): Promise<JsonAnswer> =>
  readOk(
    await api.send(
      'PATCH',
      `/v1/webhook-endpoints/${id}`,
      { 'content-type': 'application/json' },
      JSON.stringify(body),
    ),
    200,
  );

/** Creates a delivery with `attempts` attempts, and waits until the first one was made. */
async function deliver(attempts: number, type: 'job.failed' | 'webhook.test' = 'job.failed'): Promise<void> {
  const webhooks = api.store.webhooks.forTenant('default');
  const [eventId, at] = [newId('evt'), new Date().toISOString()];
  await webhooks.storeBody(eventId, '{}');
  const to = { endpointId: id, url: receiver.url };
  const parameters = { tenant: 'default', eventId, type, subjectId: null, at, receiver: to, attempts };
  const delivery = await createDelivery(webhooks, parameters);
  const attempted = async () => (await webhooks.deliveries.get(delivery)).attemptCount;
  await expect.poll(attempted, { timeout: 10_000, interval: 20 }).toBe(1);
  // The health of the endpoint is updated after the attempt is recorded.
  await new Promise((resolve) => setTimeout(resolve, 200));
}

it('an endpoint fails since the first failure after the last success', async () => {
  expect(await endpoint()).toMatchObject({ enabled: true, failingSince: null });
  const before = Date.now();
  await deliver(12);
  const { failingSince } = await endpoint();
  expect(Date.parse(String(failingSince))).toBeGreaterThan(before - 1000);
  await deliver(12);
  expect((await endpoint()).failingSince).toBe(failingSince);
  receiver.answer = (response) => response.writeHead(204).end();
  await deliver(12);
  expect(await endpoint()).toMatchObject({ enabled: true, failingSince: null });
});

it('an endpoint is disabled when a delivery is given up after five days of failures', async () => {
  await failSince(4.9);
  await deliver(1);
  expect((await endpoint()).enabled, 'not yet five days').toBe(true);
  await failSince(5.1);
  await deliver(12);
  expect((await endpoint()).enabled, 'this delivery is still retried').toBe(true);
  await deliver(1);
  expect(await endpoint()).toMatchObject({
    enabled: false,
    disabledReason: expect.stringMatching(/every attempt has failed since .*500/),
  });
  await expectProblem(await api.post(`/v1/webhook-endpoints/${id}/test`), 409, 'conflict');
  expect(await patch({ enabled: true })).toMatchObject({
    enabled: true,
    disabledReason: null,
    failingSince: null,
  });
  await deliver(1);
  expect((await endpoint()).enabled, 'its failures count from the start').toBe(true);
});

it('failed test calls and failures of an earlier URL do not count', async () => {
  await deliver(1, 'webhook.test');
  expect((await endpoint()).failingSince).toBeNull();
  await failSince(6);
  await deliver(1, 'webhook.test');
  expect((await endpoint()).enabled).toBe(true);
  expect(await patch({ url: `${receiver.url}/moved` })).toMatchObject({ failingSince: null });
});

it('an endpoint of an older version has never failed', async () => {
  const key = api.store.keys.record(id);
  await api.store.redis.hdel(key, 'failingSince', '_version');
  expect(await endpoint()).toMatchObject({ enabled: true, failingSince: null });
  await deliver(12);
  expect((await endpoint()).failingSince).not.toBeNull();
});
