import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { newId } from '../../contract/ids.ts';
import { ProblemError } from '../../contract/problem.ts';
import { Ref } from '../../contract/schemas/common.ts';
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
import type { TenantStore } from '../../store/store.ts';
import { createDelivery, MAX_ENDPOINTS } from '../../webhooks/dispatch.ts';
import { resolveSecret, rotateSecrets } from '../../webhooks/secrets.ts';
import { type EndpointRecord, SECRETS_FIELD, type SigningSecret } from '../../webhooks/store.ts';
import { validateEndpointUrl } from '../../webhooks/validate-target.ts';
import { reserveId } from '../http/idempotency.ts';
import { preferredWait, readWhen } from '../http/prefer.ts';
import { emptyResponse, IdInPath, jsonResponse, PreferHeader, responses } from '../http/route-schemas.ts';
import { viewDelivery } from './webhook-deliveries.ts';

const tags = ['webhooks'];

/** Webhook endpoints: receivers of the events of all jobs and samples of a tenant. */
export const webhookEndpoints: FastifyPluginAsyncTypebox = async (app) => {
  const { config, resolveHost } = app.services;

  app.post(
    '/v1/webhook-endpoints',
    {
      schema: {
        operationId: 'createWebhookEndpoint',
        summary: 'Create a webhook endpoint; only this response has its secret',
        tags,
        body: Ref(WebhookEndpointRequest),
        response: responses({ 201: jsonResponse(NewWebhookEndpoint, 'created', 'location') }),
      },
    },
    async (request, reply) => {
      const body = request.body as WebhookEndpointRequest;
      const url = await validateEndpointUrl(body.url, config.webhookAllow, resolveHost);
      const secret = resolveSecret(body.secret, '/secret');
      const { id, isNew } = reserveId(request, 'whe');
      const { endpoints } = request.store.webhooks;
      const existing = isNew ? null : await endpoints.findUnlessGone(id);
      if (existing) {
        // An earlier request created it, and its answer with the secret was lost.
        const secrets = await endpoints.internalField<SigningSecret[]>(id, SECRETS_FIELD);
        reply.code(201).header('location', `/v1/webhook-endpoints/${id}`);
        return { ...viewEndpoint(existing), secret: secrets?.[0]?.secret ?? secret };
      }
      const record = await createEndpoint(request.store, id, { ...body, url }, secret);
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
        summary: 'List webhook endpoints, newest first',
        tags,
        querystring: WebhookEndpointQuery,
        response: responses({ 200: Ref(WebhookEndpointPage) }),
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
        summary: 'Get a webhook endpoint',
        tags,
        params: IdInPath,
        response: responses({ 200: jsonResponse(WebhookEndpoint, 'the endpoint') }),
      },
    },
    async (request) => viewEndpoint(await request.store.webhooks.endpoints.get(request.params.id)),
  );

  app.patch(
    '/v1/webhook-endpoints/:id',
    {
      schema: {
        operationId: 'updateWebhookEndpoint',
        summary: 'Change the address or the events of a webhook endpoint, or disable it',
        tags,
        params: IdInPath,
        body: Ref(WebhookEndpointPatch),
        response: responses({ 200: jsonResponse(WebhookEndpoint, 'the changed endpoint') }),
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
        // Its failures so far are forgiven.
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
        summary: 'Delete a webhook endpoint; pending deliveries to it are dropped',
        tags,
        params: IdInPath,
        response: responses({ 204: emptyResponse('deleted') }),
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
        summary: 'Rotate the secret; requests are signed with the old one too for a while',
        tags,
        params: IdInPath,
        body: Type.Union([Ref(RotateSecretRequest), Type.Null({ 'x-secret': true })], { 'x-secret': true }),
        response: responses({
          200: jsonResponse(RotatedSecret, 'the new secret, which only this response has'),
        }),
      },
    },
    async (request) => {
      const { endpoints } = request.store.webhooks;
      const { id } = request.params;
      const { secret: given, keepSeconds = 86_400 } = (request.body as RotateSecretRequest | null) ?? {};
      await endpoints.get(id);
      const secret = resolveSecret(given, '/secret');
      const now = new Date();
      const current = (await endpoints.internalField<SigningSecret[]>(id, SECRETS_FIELD)) ?? [];
      await endpoints.change(id, {
        internal: { [SECRETS_FIELD]: rotateSecrets(current, secret, keepSeconds, now) },
      });
      request.log.info({ keepSeconds }, 'webhook secret rotated');
      return { secret, oldValidUntil: new Date(now.getTime() + keepSeconds * 1000).toISOString() };
    },
  );

  app.post(
    '/v1/webhook-endpoints/:id/test',
    {
      schema: {
        operationId: 'testWebhookEndpoint',
        summary: 'Send `webhook.test` once; `Prefer: wait` holds the response until the attempt has ended',
        tags,
        params: IdInPath,
        headers: PreferHeader,
        response: responses({
          200: jsonResponse(
            WebhookDelivery,
            'the attempt succeeded or failed within the time of `Prefer: wait`',
            'preference-applied',
          ),
          202: jsonResponse(WebhookDelivery, 'the delivery is queued', 'location', 'preference-applied'),
        }),
      },
    },
    async (request, reply) => {
      const { webhooks } = request.store;
      const endpoint = await webhooks.endpoints.get(request.params.id);
      if (!endpoint.enabled)
        throw new ProblemError(
          'conflict',
          `The endpoint ${endpoint.id} is disabled; enable it first (PATCH).`,
        );
      const id = await createTestDelivery(webhooks, endpoint);
      const delivery = await readWhen(request, reply, {
        id,
        milliseconds: preferredWait(request, reply),
        read: () => webhooks.deliveries.get(id),
        isReached: ({ status }) => status !== 'pending',
      });
      reply
        .header('location', `/v1/webhook-deliveries/${id}`)
        .code(delivery.status === 'pending' ? 202 : 200);
      return viewDelivery(delivery);
    },
  );
};

/** @throws ProblemError `not-possible` when the tenant has as many endpoints as it can */
async function createEndpoint(
  { tenant, webhooks: { endpoints } }: TenantStore,
  id: string,
  { url, description = '', events = [...WEBHOOK_EVENTS] }: WebhookEndpointRequest,
  secret: string,
): Promise<EndpointRecord> {
  if ((await endpoints.count()) >= MAX_ENDPOINTS)
    throw new ProblemError(
      'not-possible',
      `You have ${MAX_ENDPOINTS} webhook endpoints, the most that a tenant can have. ` +
        'Delete one, or give the job its own `webhook`.',
    );
  const record: EndpointRecord = {
    id,
    tenant,
    url,
    description,
    events,
    enabled: true,
    disabledReason: null,
    failingSince: null,
    createdAt: new Date().toISOString(),
  };
  const secrets: SigningSecret[] = [{ secret, validUntil: null }];
  await endpoints.create(record, { internal: { [SECRETS_FIELD]: secrets } });
  return record;
}

/** Queues one attempt to deliver `webhook.test`. Returns the id of the delivery. */
async function createTestDelivery(
  webhooks: TenantStore['webhooks'],
  { id: endpointId, url, tenant }: EndpointRecord,
): Promise<string> {
  const type = 'webhook.test' as const;
  const at = new Date().toISOString();
  const eventId = newId('evt');
  await webhooks.storeBody(eventId, JSON.stringify({ type, timestamp: at, data: { endpointId } }));
  const receiver = { endpointId, url };
  return createDelivery(webhooks, { tenant, eventId, type, subjectId: null, at, receiver, attempts: 1 });
}

function viewEndpoint({ tenant: _, ...visible }: EndpointRecord): WebhookEndpoint {
  return { object: 'webhook-endpoint', ...visible };
}
