import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { type JsonAnswer, readOk, startTestApi, type TestApi } from './test-api.ts';
import { WebhookReceiver } from './webhook-receiver.ts';

/** A secret that a client could choose. */
export const SECRET = `whsec_${Buffer.from('a secret of thirty-two bytes, yes').toString('base64')}`;

/** An API whose webhooks may call 127.0.0.1 and are retried after one second, and a receiver. */
export interface WebhookApi {
  readonly api: TestApi;
  /** A new one for each test. */
  readonly receiver: WebhookReceiver;
  /** Creates an endpoint with the URL of the receiver, unless `body` has another one. */
  createEndpoint(body?: object): Promise<JsonAnswer & { id: string; secret: string }>;
  /** Sends a test event to an endpoint and waits for the delivery. */
  testEndpoint(id: string): Promise<JsonAnswer>;
  /** Lists deliveries. @param query such as `subjectId=job_1` */
  listDeliveries(query: string): Promise<JsonAnswer[]>;
}

/**
 * Registers the hooks that start the API for the file and a receiver for each test, and that delete
 * all endpoints after each test. No worker runs: tests change jobs through the store, as a worker
 * would.
 */
export function setUpWebhookApi(): WebhookApi {
  let api: TestApi;
  let receiver: WebhookReceiver;
  beforeAll(async () => {
    api = await startTestApi({ webhookAllow: ['127.0.0.1'], webhookRetrySeconds: 1 });
  });
  afterAll(() => api.close());
  beforeEach(async () => {
    receiver = await WebhookReceiver.start();
  });
  afterEach(async () => {
    const { data } = await readOk(await api.get('/v1/webhook-endpoints?limit=100'), 200);
    for (const { id } of data as JsonAnswer[]) await api.send('DELETE', `/v1/webhook-endpoints/${id}`);
    await receiver.close();
  });
  return {
    get api() {
      return api;
    },
    get receiver() {
      return receiver;
    },
    async createEndpoint(body = {}) {
      const response = await api.post('/v1/webhook-endpoints', { url: receiver.url, ...body });
      return (await readOk(response, 201)) as JsonAnswer & { id: string; secret: string };
    },
    async testEndpoint(id) {
      const headers = { prefer: 'wait=20' };
      return readOk(await api.post(`/v1/webhook-endpoints/${id}/test`, undefined, headers), 200);
    },
    async listDeliveries(query) {
      return (await readOk(await api.get(`/v1/webhook-deliveries?${query}`), 200)).data as JsonAnswer[];
    },
  };
}

/** Expects of the result of `read` within ten seconds. */
export const soon = <T>(read: () => T | Promise<T>) => expect.poll(read, { timeout: 10_000, interval: 20 });
