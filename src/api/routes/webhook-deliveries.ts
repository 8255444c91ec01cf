import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Ref } from '../../contract/schemas/common.ts';
import {
  WebhookDelivery,
  WebhookDeliveryPage,
  WebhookDeliveryQuery,
} from '../../contract/schemas/webhook-endpoint.ts';
import { MAX_SKIPPED } from '../../records/records.ts';
import { redeliver } from '../../webhooks/redeliver.ts';
import type { DeliveryRecord } from '../../webhooks/store.ts';
import { IdInPath, jsonResponse, responses } from '../http/route-schemas.ts';

const tags = ['webhooks'];

/** The delivery log of webhooks. */
export const webhookDeliveries: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/v1/webhook-deliveries',
    {
      schema: {
        operationId: 'listWebhookDeliveries',
        summary: 'List deliveries, newest first; they are kept for a week, at most 10,000',
        tags,
        querystring: WebhookDeliveryQuery,
        response: responses({ 200: Ref(WebhookDeliveryPage) }),
      },
    },
    async (request) => {
      const { limit = 20, after, endpointId, subjectId, status } = request.query;
      const filter = (delivery: DeliveryRecord) =>
        (endpointId === undefined || delivery.endpointId === endpointId) &&
        (subjectId === undefined || delivery.subjectId === subjectId) &&
        (status === undefined || delivery.status === status);
      const { data, ...page } = await request.store.webhooks.deliveries.list({
        limit,
        after,
        filter,
        maxSkipped: MAX_SKIPPED,
      });
      return { data: data.map(viewDelivery), ...page };
    },
  );

  app.get(
    '/v1/webhook-deliveries/:id',
    {
      schema: {
        operationId: 'getWebhookDelivery',
        summary: 'Get a delivery with its attempts',
        tags,
        params: IdInPath,
        response: responses({ 200: jsonResponse(WebhookDelivery, 'the delivery') }),
      },
    },
    async (request) => viewDelivery(await request.store.webhooks.deliveries.get(request.params.id)),
  );

  app.post(
    '/v1/webhook-deliveries/:id/redeliver',
    {
      schema: {
        operationId: 'redeliverWebhook',
        summary: 'Deliver again now, with the same `webhook-id`',
        tags,
        params: IdInPath,
        response: responses({ 202: jsonResponse(WebhookDelivery, 'the delivery is queued') }),
      },
    },
    async (request, reply) => {
      const delivery = await redeliver(request.store.webhooks, request.params.id);
      request.log.info('webhook redelivery requested');
      reply.code(202);
      return viewDelivery(delivery);
    },
  );
};

/** A delivery as clients see it. */
export function viewDelivery({ round: _, tenant: __, ...visible }: DeliveryRecord): WebhookDelivery {
  return { object: 'webhook-delivery', ...visible };
}
