import { afterEach, beforeEach, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import { createDelivery } from '../../src/webhooks/dispatch.ts';
import { startTestApi, type TestApi } from '../support/test-api.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

/**
 * One tenant has many deliveries to receivers that do not work. A delivery of another tenant must
 * not wait until attempts to a silent receiver end, which takes 15 seconds. The bounds hold on a
 * busy machine.
 */
let api: TestApi;
let other: WebhookReceiver;
beforeEach(async () => {
  api = await startTestApi({ webhookAllow: ['127.0.0.1'] });
  other = await WebhookReceiver.start();
});
afterEach(async () => {
  await api.close();
  await other.close();
});

/** Queues a delivery as the outbox does. */
async function deliver(tenant: string, url: string): Promise<void> {
  const webhooks = api.store.webhooks.forTenant(tenant);
  const [eventId, at] = [newId('evt'), new Date().toISOString()];
  await webhooks.storeBody(eventId, '{}');
  const secrets = [{ secret: `whsec_${'A'.repeat(43)}=`, validUntil: null }];
  const receiver = { endpointId: null, url, secrets };
  await createDelivery(webhooks, { tenant, eventId, type: 'job.failed', subjectId: null, at, receiver });
}

/**
 * Milliseconds until a delivery of another tenant arrives while `count` deliveries to each URL
 * wait.
 */
async function measure(urls: readonly string[], count: number): Promise<number> {
  other.received.length = 0;
  await Promise.all(urls.flatMap((url) => Array.from({ length: count }, () => deliver('acme', url))));
  const began = performance.now();
  await deliver('rival', other.url);
  await other.wait(1, 60_000);
  return performance.now() - began;
}

it('a delivery arrives although another tenant has 500 to a silent receiver', async () => {
  const silent = await WebhookReceiver.start();
  silent.answer = () => {};
  const milliseconds = await measure([silent.url], 500);
  console.log(`another tenant's delivery, behind 500 to a silent receiver: ${milliseconds.toFixed(0)} ms`);
  expect(milliseconds).toBeLessThan(10_000);
  await silent.close();
});

it('a delivery arrives although another tenant has 500 to ten silent receivers', async () => {
  const many = await Promise.all(Array.from({ length: 10 }, () => WebhookReceiver.start()));
  for (const one of many) one.answer = () => {};
  const milliseconds = await measure(
    many.map(({ url }) => url),
    50,
  );
  console.log(`another tenant's delivery, behind 500 to ten silent receivers: ${milliseconds.toFixed(0)} ms`);
  expect(milliseconds).toBeLessThan(10_000);
  await Promise.all(many.map((one) => one.close()));
});

it('a delivery arrives although another tenant has 500 to a closed port', async () => {
  const gone = await WebhookReceiver.start();
  const { url } = gone;
  await gone.close();
  const milliseconds = await measure([url], 500);
  console.log(`another tenant's delivery, behind 500 that are refused: ${milliseconds.toFixed(0)} ms`);
  expect(milliseconds).toBeLessThan(10_000);
});

it('many deliveries to a receiver that answers are not postponed', async () => {
  // A postponed delivery comes ten seconds later or more, and there would be hundreds.
  const busy = await WebhookReceiver.start();
  busy.answer = (response) => setTimeout(() => response.writeHead(204).end(), 20);
  const began = performance.now();
  await Promise.all(Array.from({ length: 300 }, () => deliver('acme', busy.url)));
  await busy.wait(300, 60_000);
  console.log(`300 deliveries to a receiver that takes 20 ms: ${(performance.now() - began).toFixed(0)} ms`);
  await busy.close();
});
