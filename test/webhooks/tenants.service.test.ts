import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { trimDeliveries } from '../../src/webhooks/trim.ts';
import { createKey, withHeaders } from '../support/api-keys.ts';
import {
  expectProblem,
  type JsonAnswer,
  PROMPT,
  queueJob,
  readOk,
  startTestApi,
  succeedJob,
  type TestApi,
} from '../support/test-api.ts';
import { type ReceivedRequest, verify, WebhookReceiver } from '../support/webhook-receiver.ts';

/** Two tenants, and the default tenant of records without one. Each has an endpoint. */
const TENANTS = ['acme', 'rival', 'default'] as const;
type Tenant = (typeof TENANTS)[number];

interface Holder {
  readonly api: TestApi;
  readonly receiver: WebhookReceiver;
  readonly endpoint: { readonly id: string; readonly secret: string };
}

let api: TestApi;
let holders: Record<Tenant, Holder>;

beforeAll(async () => {
  api = await startTestApi({ webhookAllow: ['127.0.0.1'], webhookRetrySeconds: 1 });
});
afterAll(() => api.close());
beforeEach(async () => {
  const scopes = ['read', 'jobs:write', 'samples:write', 'webhooks:write'] as const;
  const entries = TENANTS.map(async (tenant) => {
    const holder = withHeaders(api, (await createKey(api, { tenant, scopes })).headers);
    const receiver = await WebhookReceiver.start();
    const answer = await readOk(await holder.post('/v1/webhook-endpoints', { url: receiver.url }), 201);
    const endpoint = { id: String(answer.id), secret: String(answer.secret) };
    return [tenant, { api: holder, receiver, endpoint }] as const;
  });
  holders = Object.fromEntries(await Promise.all(entries)) as Record<Tenant, Holder>;
});
afterEach(async () => {
  for (const { api: holder, receiver, endpoint } of Object.values(holders)) {
    await holder.send('DELETE', `/v1/webhook-endpoints/${endpoint.id}`);
    await receiver.close();
  }
});

const log = async (tenant: Tenant, query = '') =>
  (await readOk(await holders[tenant].api.get(`/v1/webhook-deliveries?${query}`), 200)).data as JsonAnswer[];

/** Waits until all events were dispatched and all deliveries have ended. */
async function settle(): Promise<void> {
  await expect.poll(() => api.store.webhooks.outbox.size(), { timeout: 10_000 }).toBe(0);
  const pending = () =>
    api.store.webhooks.deliveries.list({ limit: 1, filter: ({ status }) => status === 'pending' });
  await expect.poll(async () => (await pending()).data, { timeout: 10_000 }).toEqual([]);
}

it('endpoints receive only events of their own tenant', async () => {
  const made: Record<string, string[]> = {};
  for (const tenant of TENANTS) {
    const { api: holder } = holders[tenant];
    const job = await queueJob(holder);
    const sample = await readOk(await holder.post('/v1/samples', { prompt: PROMPT }), 202);
    made[tenant] = [job.id, String(sample.id)];
  }
  // An older version stored no tenant.
  await api.store.redis.hdel(api.store.keys.record(made.default[0]), 'tenant');
  for (const [job, sample] of Object.values(made)) {
    await succeedJob(api, job);
    await api.store.samples.change(sample, { set: { status: 'failed' } });
  }
  for (const tenant of TENANTS) await holders[tenant].receiver.wait(2);
  await settle();
  for (const tenant of TENANTS) {
    const { receiver, endpoint } = holders[tenant];
    const events = receiver.received.map(
      (request) => verify(request, endpoint.secret).data as { id: string },
    );
    expect(events.map(({ id }) => id).sort(), tenant).toEqual([...made[tenant]].sort());
    for (const data of events) expect(data).not.toHaveProperty('tenant');
    expect((await log(tenant, `endpointId=${endpoint.id}`)).map(({ subjectId }) => subjectId).sort()).toEqual(
      [...made[tenant]].sort(),
    );
    for (const id of made[tenant]) expect(await log(tenant, `subjectId=${id}`)).toHaveLength(1);
    for (const other of TENANTS.filter((one) => one !== tenant))
      for (const id of made[other]) expect(await log(tenant, `subjectId=${id}`)).toEqual([]);
  }
});

it('the deliveries of a job’s own webhook belong to its tenant', async () => {
  const { acme } = holders;
  const { id, webhook } = await queueJob(acme.api, { webhook: { url: `${acme.receiver.url}/own` } });
  await succeedJob(api, id);
  const requests = await acme.receiver.wait(2);
  await settle();
  const own = requests.find(({ path }) => path === '/hook/own');
  verify(own as ReceivedRequest, String(webhook?.secret));
  expect(await log('acme', `subjectId=${id}`)).toHaveLength(2);
  expect(await log('rival', `subjectId=${id}`)).toEqual([]);
  expect(holders.rival.receiver.received).toEqual([]);
});

it('a delivery is not sent to another tenant’s endpoint even if its record names it', async () => {
  const { acme, rival } = holders;
  const { id } = await queueJob(acme.api);
  await succeedJob(api, id);
  await acme.receiver.wait(1);
  await settle();
  const [delivery] = await log('acme', `subjectId=${id}`);
  await api.store.webhooks.deliveries.change(String(delivery.id), { set: { endpointId: rival.endpoint.id } });
  await readOk(await acme.api.post(`/v1/webhook-deliveries/${delivery.id}/redeliver`), 202);
  await settle();
  expect((await log('acme', `subjectId=${id}`))[0]).toMatchObject({
    status: 'failed',
    attempts: [{ status: 204 }, { status: null, error: 'the endpoint was deleted' }],
  });
  expect(rival.receiver.received).toEqual([]);
});

it('the limit of endpoints is per tenant', async () => {
  const { acme, rival } = holders;
  const create = ({ api: holder, receiver }: Holder) =>
    holder.post('/v1/webhook-endpoints', { url: receiver.url });
  for (let i = 1; i < 32; i++) await readOk(await create(acme), 201);
  await expectProblem(await create(acme), 422, 'not-possible');
  await readOk(await create(rival), 201);
  for await (const { id } of api.store.webhooks.endpoints.oldestFirst())
    await api.store.webhooks.endpoints.remove(id, new Date().toISOString());
});

it('the limit of stored deliveries is per tenant', async () => {
  const { webhooks } = api.store;
  for (const tenant of ['rival', 'acme', 'acme', 'acme'] as const) {
    const { id } = await queueJob(holders[tenant].api);
    await succeedJob(api, id);
  }
  await holders.acme.receiver.wait(3);
  await holders.rival.receiver.wait(1);
  await settle();
  const [latest] = await log('acme');
  await trimDeliveries(webhooks, Date.now(), 1);
  expect(await log('acme')).toEqual([latest]);
  expect(await log('rival')).toHaveLength(1);
});

it('a key without webhooks:write can read webhooks, and change none', async () => {
  const { endpoint } = holders.acme;
  // As keys of release 0.1 are: jobs:write was enough for webhooks there.
  const scopes = ['read', 'jobs:write', 'samples:write'] as const;
  const reader = withHeaders(api, (await createKey(api, { scopes })).headers);
  await readOk(await reader.get(`/v1/webhook-endpoints/${endpoint.id}`), 200);
  await expectProblem(
    await reader.post('/v1/webhook-endpoints', { url: 'https://x.test' }),
    403,
    'forbidden',
  );
  for (const path of ['rotate-secret', 'test'])
    await expectProblem(await reader.post(`/v1/webhook-endpoints/${endpoint.id}/${path}`), 403, 'forbidden');
});
