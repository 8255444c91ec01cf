import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { startApi } from '../../src/api/server.ts';
import { openStore } from '../../src/store/store.ts';
import { PROMPT, queueJob, succeedJob, timed } from '../support/test-api.ts';
import { SECRET, setUpWebhookApi, soon } from '../support/webhook-api.ts';
import { verify } from '../support/webhook-receiver.ts';

const webhooks = setUpWebhookApi();

describe('a delivery', () => {
  it('is retried after growing delays, with the same id and body, until it succeeds', async () => {
    webhooks.receiver.answer = (response, count) => response.writeHead(count < 3 ? 500 : 200).end('words');
    const { id } = await queueJob(webhooks.api, { webhook: { url: webhooks.receiver.url, secret: SECRET } });
    await succeedJob(webhooks.api, id);
    const requests = await webhooks.receiver.wait(3);
    for (const request of requests) verify(request, SECRET);
    expect(new Set(requests.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(new Set(requests.map(({ body }) => body)).size).toBe(1);
    expect(requests[1].at - requests[0].at).toBeGreaterThan(750);
    expect(requests[2].at - requests[1].at).toBeGreaterThan(2300);
    await soon(async () => (await webhooks.listDeliveries(`subjectId=${id}`))[0].status).toBe('succeeded');
    expect((await webhooks.listDeliveries(`subjectId=${id}`))[0]).toMatchObject({
      attemptCount: 3,
      attempts: [
        { status: 500, error: expect.stringMatching(/500.*2xx/) },
        { status: 500 },
        { status: 200, error: null },
      ],
    });
  });

  it('returns to the queue when its process ends during an attempt, which does not count', async () => {
    webhooks.receiver.answer = () => {}; // never answers
    const config = { ...webhooks.api.config, redisPrefix: `${webhooks.api.config.redisPrefix}:ending` };
    const start = () =>
      startApi({ config, redisUrl: webhooks.api.redisUrl, logger: pino({ level: 'silent' }) });
    const store = await openStore(webhooks.api.redisUrl, config.redisPrefix, { failFast: false });
    const first = await start();
    const response = await fetch(`${first.url}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: PROMPT, webhook: { url: webhooks.receiver.url } }),
    });
    const { id } = (await response.json()) as { id: string };
    await store.jobs.change(id, { set: { status: 'failed' } });
    await webhooks.receiver.wait(1);
    const [milliseconds] = await timed(() => first.close());
    expect(milliseconds).toBeLessThan(5000);
    const read = async () => (await store.webhooks.deliveries.list({ limit: 1 })).data[0];
    expect(await read()).toMatchObject({ status: 'pending', attemptCount: 0, attempts: [] });

    webhooks.receiver.answer = (response) => response.writeHead(204).end();
    const second = await start();
    await soon(read).toMatchObject({ status: 'succeeded', attemptCount: 1 });
    await second.close();
    await store.close();
  });
});
