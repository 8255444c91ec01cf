import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { newId } from '../../contract/ids.ts';
import { ProblemError } from '../../contract/problem.ts';
import { Link } from '../../contract/schemas/common.ts';
import { WEBHOOK_EVENTS } from '../../contract/schemas/webhook.ts';
import {
  NewWebhookEndpoint,
  RotatedSecret,
  RotateSecretRequest,
  WebhookDelivery,
  WebhookEndpoint,
  WebhookEndpointPage,
  WebhookEndpointPatch,
  WebhookEndpointQuery,
  WebhookEndpointRequest,
} from '../../contract/schemas/webhook-endpoint.ts';
import { createDelivery, MAX_ENDPOINTS } from '../../webhooks/dispatch.ts';
import { rotate, takeSecret } from '../../webhooks/secrets.ts';
import { validateEndpointUrl } from '../../webhooks/validate-target.ts';
import { type EndpointRecord, SECRETS, type SigningSecret } from '../../webhooks/webhook-store.ts';
import { goneSignal, preferredWait } from '../plugins/prefer.ts';
import { answers, IdInPath, json, PreferHeader } from '../responses.ts';
import { viewDelivery } from './webhook-deliveries.ts';

const tags = ['webhooks'];

/** Who is told of every job and sample. */
export const webhookEndpoints: FastifyPluginAsyncTypebox = async (app) => {
  const { config, resolveHost, closing } = app.services;

  app.post(
    '/v1/webhook-endpoints',
    {
      schema: {
        operationId: 'createWebhookEndpoint',
        summary: 'Be told of jobs and samples; the answer has the secret, and nothing else ever has',
        tags,
        body: Link(WebhookEndpointRequest),
        response: answers({ 201: json(NewWebhookEndpoint, 'created', 'location') }),
      },
    },
    async (request, reply) => {
      const { tenant, webhooks } = request.store;
      const body = request.body as WebhookEndpointRequest;
      const url = await validateEndpointUrl(body.url, config.webhookAllow, resolveHost);
      const secret = takeSecret(body.secret, '/secret');
      if ((await webhooks.endpoints.count()) >= MAX_ENDPOINTS)
        throw new ProblemError(
          'not-possible',
          `You have ${MAX_ENDPOINTS} webhook endpoints, which is the most there can be. Delete one, or give the job its own \`webhook\`.`,
        );
      const record: EndpointRecord = {
        id: newId('whe'),
        tenant,
        url,
        description: body.description ?? '',
        events: body.events ?? [...WEBHOOK_EVENTS],
        enabled: true,
        disabledReason: null,
        failingSince: null,
        createdAt: new Date().toISOString(),
      };
      const secrets: SigningSecret[] = [{ secret, validUntil: null }];
      await webhooks.endpoints.create(record, { hide: { [SECRETS]: secrets } });
      request.log.info({ webhookEndpointId: record.id }, 'webhook endpoint created');
      reply.code(201).header('location', `/v1/webhook-endpoints/${record.id}`);
      return { ...viewEndpoint(record), secret };
    },
  );

  app.get(
    '/v1/webhook-endpoints',
    {
      schema: {
        operationId: 'listWebhookEndpoints',
        summary: 'Webhook endpoints, newest first',
        tags,
        querystring: WebhookEndpointQuery,
        response: answers({ 200: Link(WebhookEndpointPage) }),
      },
    },
    async (request) => {
      const { limit = 20, after } = request.query;
      const { data, ...page } = await request.store.webhooks.endpoints.list({ limit, after });
      return { data: data.map(viewEndpoint), ...page };
    },
  );

  app.get(
    '/v1/webhook-endpoints/:id',
    {
      schema: {
        operationId: 'getWebhookEndpoint',
        summary: 'A webhook endpoint',
        tags,
        params: IdInPath,
        response: answers({ 200: json(WebhookEndpoint, 'the endpoint') }),
      },
    },
    async (request) => viewEndpoint(await request.store.webhooks.endpoints.get(request.params.id)),
  );

  app.patch(
    '/v1/webhook-endpoints/:id',
    {
      schema: {
        operationId: 'updateWebhookEndpoint',
        summary: 'Change where it is, what it is told, or whether it is told anything',
        tags,
        params: IdInPath,
        body: Link(WebhookEndpointPatch),
        response: answers({ 200: json(WebhookEndpoint, 'as it is now') }),
      },
    },
    async (request) => {
      const { endpoints } = request.store.webhooks;
      const { id } = request.params;
      const { url, ...body } = request.body as WebhookEndpointPatch;
      await endpoints.get(id);
      const set: Partial<EndpointRecord> = {
        ...body,
        ...(url === undefined
          ? {}
          : { url: await validateEndpointUrl(url, config.webhookAllow, resolveHost) }),
        ...(body.enabled ? { disabledReason: null } : {}),
        // It is judged anew.
        ...(body.enabled || url !== undefined ? { failingSince: null } : {}),
      };
      await endpoints.change(id, { set });
      request.log.info({ changed: Object.keys(set) }, 'webhook endpoint changed');
      return viewEndpoint(await endpoints.get(id));
    },
  );

  app.delete(
    '/v1/webhook-endpoints/:id',
    {
      schema: {
        operationId: 'deleteWebhookEndpoint',
        summary: 'Delete a webhook endpoint; what waits for it is not delivered any more',
        tags,
        params: IdInPath,
        response: answers({ 204: { description: 'deleted', type: 'null' } }),
      },
    },
    async (request, reply) => {
      const { endpoints } = request.store.webhooks;
      const { id } = request.params;
      await endpoints.get(id); // 404, or 410 the second time
      await endpoints.remove(id, new Date().toISOString());
      request.log.info('webhook endpoint deleted');
      return reply.code(204).send(null);
    },
  );

  app.post(
    '/v1/webhook-endpoints/:id/rotate-secret',
    {
      schema: {
        operationId: 'rotateWebhookSecret',
        summary: 'A new secret; the old one signs too for a while',
        tags,
        params: IdInPath,
        body: Type.Union([Link(RotateSecretRequest), Type.Null({ 'x-secret': true })], { 'x-secret': true }),
        response: answers({ 200: json(RotatedSecret, 'the new secret, shown this once') }),
      },
    },
    async (request) => {
      const { endpoints } = request.store.webhooks;
      const { id } = request.params;
      const { secret: given, keepSeconds = 86_400 } = (request.body as RotateSecretRequest | null) ?? {};
      await endpoints.get(id);
      const secret = takeSecret(given, '/secret');
      const now = new Date();
      const known = (await endpoints.hidden<SigningSecret[]>(id, SECRETS)) ?? [];
      await endpoints.change(id, { hide: { [SECRETS]: rotate(known, secret, keepSeconds, now) } });
      request.log.info({ keepSeconds }, 'webhook secret rotated');
      return { secret, oldValidUntil: new Date(now.getTime() + keepSeconds * 1000).toISOString() };
    },
  );

  app.post(
    '/v1/webhook-endpoints/:id/test',
    {
      schema: {
        operationId: 'testWebhookEndpoint',
        summary:
          'Send `webhook.test`, once; `Prefer: wait` holds the answer until it has come of it what may',
        tags,
        params: IdInPath,
        headers: PreferHeader,
        response: answers({
          200: json(
            WebhookDelivery,
            'it ended within the time of `Prefer: wait`, well or not',
            'preference-applied',
          ),
          202: json(WebhookDelivery, 'it is on its way', 'location', 'preference-applied'),
        }),
      },
    },
    async (request, reply) => {
      const { tenant, webhooks, changes } = request.store;
      const endpoint = await webhooks.endpoints.get(request.params.id);
      if (!endpoint.enabled)
        throw new ProblemError(
          'conflict',
          `The endpoint ${endpoint.id} is disabled; enable it first (PATCH).`,
        );
      const at = new Date().toISOString();
      const eventId = newId('evt');
      const type = 'webhook.test' as const;
      await webhooks.keepBody(
        eventId,
        JSON.stringify({ type, timestamp: at, data: { endpointId: endpoint.id } }),
      );
      const receiver = { endpointId: endpoint.id, url: endpoint.url };
      const id = await createDelivery(webhooks, {
        tenant,
        eventId,
        type,
        subjectId: null,
        at,
        receiver,
        attempts: 1,
      });
      const milliseconds = preferredWait(request, reply);
      const look = async () => {
        const delivery = await webhooks.deliveries.get(id);
        return delivery.status === 'pending' ? null : delivery;
      };
      if (milliseconds > 0) await changes.until(id, milliseconds, look, goneSignal(reply.raw, closing));
      const delivery = await webhooks.deliveries.get(id);
      reply
        .header('location', `/v1/webhook-deliveries/${id}`)
        .code(delivery.status === 'pending' ? 202 : 200);
      return viewDelivery(delivery);
    },
  );
};

function viewEndpoint({ tenant: _, ...visible }: EndpointRecord): WebhookEndpoint {
  return { object: 'webhook-endpoint', ...visible };
}
