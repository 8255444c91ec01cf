import { describe, expect, it } from 'vitest';
import { expectProblem, PROMPT, queueJob, readOk, succeedJob } from '../support/test-api.ts';
import { SECRET, setUpWebhookApi, soon } from '../support/webhook-api.ts';
import { verify } from '../support/webhook-receiver.ts';

const webhooks = setUpWebhookApi();

describe('webhook endpoints', () => {
  it('receive the events of all jobs and samples', async () => {
    const { id, secret, ...rest } = await webhooks.createEndpoint({ description: 'mine' });
    expect(rest).toMatchObject({
      object: 'webhook-endpoint',
      url: webhooks.receiver.url,
      description: 'mine',
      enabled: true,
    });
    const job = await queueJob(webhooks.api);
    await succeedJob(webhooks.api, job.id);
    const sample = await readOk(await webhooks.api.post('/v1/samples', { prompt: PROMPT }), 202);
    await webhooks.api.store.samples.change(String(sample.id), { set: { status: 'failed' } });
    const requests = await webhooks.receiver.wait(2);
    const events = requests
      .map((request) => verify(request, secret))
      .sort((a, b) => (a.type < b.type ? -1 : 1));
    expect(events).toMatchObject([
      { type: 'job.succeeded', data: { object: 'job', id: job.id } },
      { type: 'sample.failed', data: { object: 'sample', id: sample.id } },
    ]);
    expect(await webhooks.listDeliveries(`endpointId=${id}`)).toHaveLength(2);
    expect(await webhooks.listDeliveries(`endpointId=${id}&limit=1&subjectId=${job.id}`)).toHaveLength(1);
  });

  it('show their secret only once', async () => {
    const { id, secret } = await webhooks.createEndpoint({ secret: SECRET });
    expect(secret).toBe(SECRET);
    for (const path of ['/v1/webhook-endpoints', `/v1/webhook-endpoints/${id}`])
      expect(await (await webhooks.api.get(path)).text()).not.toMatch(/secret|whsec/);
  });

  it('also sign with the old secret for a while after a rotation', async () => {
    const { id, secret } = await webhooks.createEndpoint();
    const rotated = await readOk(await webhooks.api.post(`/v1/webhook-endpoints/${id}/rotate-secret`), 200);
    await webhooks.testEndpoint(id);
    const [both] = await webhooks.receiver.wait(1);
    expect(verify(both, secret)).toMatchObject({ type: 'webhook.test', data: { endpointId: id } });
    verify(both, String(rotated.secret));
    const last = await readOk(
      await webhooks.api.post(`/v1/webhook-endpoints/${id}/rotate-secret`, {
        secret: SECRET,
        keepSeconds: 0,
      }),
      200,
    );
    expect(last.secret).toBe(SECRET);
    await webhooks.testEndpoint(id);
    const [, alone] = await webhooks.receiver.wait(2);
    verify(alone, SECRET);
    for (const old of [secret, String(rotated.secret)]) expect(() => verify(alone, old)).toThrow(/signature/);
  });

  it('are disabled by 410 until a client enables them', async () => {
    const { id } = await webhooks.createEndpoint();
    webhooks.receiver.answer = (response) => response.writeHead(410).end();
    const first = await queueJob(webhooks.api);
    await succeedJob(webhooks.api, first.id);
    await soon(async () => readOk(await webhooks.api.get(`/v1/webhook-endpoints/${id}`), 200)).toMatchObject({
      enabled: false,
      disabledReason: expect.stringMatching(/410/),
    });
    const second = await queueJob(webhooks.api);
    await succeedJob(webhooks.api, second.id);
    await soon(() => webhooks.api.store.webhooks.outbox.size()).toBe(0);
    expect(webhooks.receiver.received).toHaveLength(1);
    expect(await webhooks.listDeliveries(`subjectId=${second.id}`)).toEqual([]);
    await expectProblem(await webhooks.api.post(`/v1/webhook-endpoints/${id}/test`), 409, 'conflict');

    webhooks.receiver.answer = (response) => response.writeHead(204).end();
    const patch = await fetch(`${webhooks.api.url}/v1/webhook-endpoints/${id}`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ enabled: true, events: ['job.failed'] }),
    });
    expect(await readOk(patch, 200)).toMatchObject({
      enabled: true,
      disabledReason: null,
      events: ['job.failed'],
    });
    const [failed] = await webhooks.listDeliveries(`subjectId=${first.id}`);
    expect(failed).toMatchObject({ status: 'failed', attemptCount: 1 });
    await readOk(await webhooks.api.post(`/v1/webhook-deliveries/${failed.id}/redeliver`), 202);
    await webhooks.receiver.wait(2);
  });

  it('receive nothing after they were deleted, not even waiting deliveries', async () => {
    webhooks.receiver.answer = (response) => response.writeHead(500).end();
    const { id } = await webhooks.createEndpoint();
    const job = await queueJob(webhooks.api);
    await succeedJob(webhooks.api, job.id);
    await webhooks.receiver.wait(1);
    expect((await webhooks.api.send('DELETE', `/v1/webhook-endpoints/${id}`)).status).toBe(204);
    await expectProblem(await webhooks.api.get(`/v1/webhook-endpoints/${id}`), 410, 'gone');
    await soon(async () => (await webhooks.listDeliveries(`subjectId=${job.id}`))[0]).toMatchObject({
      status: 'failed',
      attempts: [{ status: 500 }, { error: 'the endpoint was deleted' }],
    });
    expect(webhooks.receiver.received).toHaveLength(1);
  });

  it('are limited to 32', async () => {
    for (let i = 0; i < 32; i++) await webhooks.createEndpoint();
    const problem = await expectProblem(
      await webhooks.api.post('/v1/webhook-endpoints', { url: webhooks.receiver.url }),
      422,
      'not-possible',
    );
    expect(problem.detail).toMatch(/32/);
  });
});
