import { describe, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import { recordKey } from '../../src/jobs/archive.ts';
import { expireOverdue } from '../../src/jobs/expire.ts';
import { PROMPT, queueJob, readOk, succeedJob } from '../support/test-api.ts';
import { SECRET, setUpWebhookApi, soon } from '../support/webhook-api.ts';
import { verify } from '../support/webhook-receiver.ts';

const webhooks = setUpWebhookApi();

describe('the webhook of a job', () => {
  it('receives the end of the job, with a signature that the public library verifies', async () => {
    const { id, webhook } = await queueJob(webhooks.api, {
      webhook: { url: webhooks.receiver.url, secret: SECRET },
    });
    expect(webhook).toEqual({
      url: webhooks.receiver.url,
      events: ['job.succeeded', 'job.failed', 'job.canceled', 'job.expired', 'job.paused'],
    });
    await succeedJob(webhooks.api, id);
    const [request] = await webhooks.receiver.wait(1);
    expect(request.headers).toMatchObject({
      'content-type': 'application/json',
      'user-agent': expect.stringMatching(/^findery\//),
    });
    const event = verify(request, SECRET);
    expect(event).toMatchObject({ type: 'job.succeeded', timestamp: expect.stringMatching(/^\d{4}-.*Z$/) });
    expect(event.data).toEqual(await readOk(await webhooks.api.get(`/v1/jobs/${id}`), 200));
    expect(() => verify({ ...request, body: request.body.replace('succeeded', 'failed') }, SECRET)).toThrow(
      /signature/,
    );

    await soon(async () => (await webhooks.listDeliveries(`subjectId=${id}`))[0]?.status).toBe('succeeded');
    expect(await webhooks.listDeliveries(`subjectId=${id}`)).toMatchObject([
      {
        object: 'webhook-delivery',
        eventId: request.headers['webhook-id'],
        type: 'job.succeeded',
        endpointId: null,
        url: webhooks.receiver.url,
        attemptCount: 1,
        attempts: [{ status: 204, error: null }],
        nextAttemptAt: null,
      },
    ]);
  });

  it('gets a generated secret, which only the answer to the request shows', async () => {
    const headers = { 'idempotency-key': `webhook ${Date.now()}` };
    const body = { webhook: { url: webhooks.receiver.url } };
    const { id, webhook } = (await queueJob(webhooks.api, body, headers)) as {
      id: string;
      webhook: { secret: string };
    };
    expect(webhook.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    // The same request again, as after a lost answer.
    expect((await queueJob(webhooks.api, body, headers)).webhook).toEqual(webhook);
    await succeedJob(webhooks.api, id);
    const [request] = await webhooks.receiver.wait(1);
    verify(request, webhook.secret);
    const secret = webhook.secret.slice('whsec_'.length);
    for (const path of [`/v1/jobs/${id}`, '/v1/jobs', `/v1/jobs/${id}/events`, '/v1/webhook-deliveries'])
      expect(await (await webhooks.api.get(path)).text()).not.toContain(secret);
    expect(request.body).not.toContain(secret);
  });

  it('receives only the events that it asked for', async () => {
    const webhook = { url: webhooks.receiver.url, secret: SECRET, events: ['job.canceled'] };
    const { id } = await queueJob(webhooks.api, { webhook });
    await succeedJob(webhooks.api, id);
    const other = await queueJob(webhooks.api, { webhook });
    await readOk(await webhooks.api.post(`/v1/jobs/${other.id}/cancel`), 200);
    const [request] = await webhooks.receiver.wait(1);
    expect(verify(request, SECRET)).toMatchObject({
      type: 'job.canceled',
      data: { id: other.id, status: 'canceled' },
    });
    expect(webhooks.receiver.received).toHaveLength(1);
    expect(await webhooks.listDeliveries(`subjectId=${id}`)).toEqual([]);
  });

  it('receives a pause, and an end without a worker', async () => {
    const { id } = await queueJob(webhooks.api, {
      webhook: { url: webhooks.receiver.url, secret: SECRET },
      deadline: 3600,
    });
    await readOk(await webhooks.api.post(`/v1/jobs/${id}/pause`), 200);
    const [paused] = await webhooks.receiver.wait(1);
    expect(verify(paused, SECRET)).toMatchObject({ type: 'job.paused', data: { id, status: 'paused' } });
    await expireOverdue(webhooks.api.store, webhooks.api.blobs, Date.now() + 7_200_000);
    const [, expired] = await webhooks.receiver.wait(2);
    expect(verify(expired, SECRET)).toMatchObject({ type: 'job.expired', data: { id, status: 'expired' } });
  });

  it('receives another event, with a new id, when a retried job fails again', async () => {
    const { id } = await queueJob(webhooks.api, { webhook: { url: webhooks.receiver.url, secret: SECRET } });
    const fail = async () => {
      await webhooks.api.store.queues.remove('optimize', id);
      return webhooks.api.store.jobs.change(id, {
        set: { status: 'failed', finishedAt: new Date().toISOString() },
      });
    };
    expect(await fail()).toBe('done');
    await webhooks.receiver.wait(1);
    await readOk(await webhooks.api.post(`/v1/jobs/${id}/retry`), 202);
    expect(await fail()).toBe('done');
    const [first, second] = await webhooks.receiver.wait(2);
    expect(verify(second, SECRET)).toMatchObject({ type: 'job.failed', data: { id, status: 'failed' } });
    expect(second.headers['webhook-id']).not.toBe(first.headers['webhook-id']);
  });

  it('works for a job with an id of the client, and the same request shows its secret again', async () => {
    const id = newId('job');
    const put = async () => {
      const body = JSON.stringify({ prompt: PROMPT, webhook: { url: webhooks.receiver.url } });
      const headers = { 'content-type': 'application/json' };
      const answer = await readOk(await webhooks.api.send('PUT', `/v1/jobs/${id}`, headers, body), 202);
      return answer.webhook as { secret: string };
    };
    const { secret } = await put();
    expect(await put()).toMatchObject({ secret });
    await readOk(await webhooks.api.post(`/v1/jobs/${id}/cancel`), 200);
    const [request] = await webhooks.receiver.wait(1);
    verify(request, secret);
    const archived = Buffer.from((await webhooks.api.blobs.get(recordKey(id))) ?? []).toString();
    expect(archived).toContain(webhooks.receiver.url);
    expect(archived, 'the archive holds no secret').not.toContain(secret.slice('whsec_'.length));
  });

  it('receives one event when a job gets the same final status twice', async () => {
    const { id } = await queueJob(webhooks.api, { webhook: { url: webhooks.receiver.url, secret: SECRET } });
    await succeedJob(webhooks.api, id);
    await succeedJob(webhooks.api, id);
    await webhooks.receiver.wait(1);
    await soon(() => webhooks.api.store.webhooks.outbox.size()).toBe(0);
    expect(await webhooks.listDeliveries(`subjectId=${id}`)).toHaveLength(1);
  });
});
