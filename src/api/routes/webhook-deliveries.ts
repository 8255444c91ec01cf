import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Link } from '../../contract/schemas/common.ts';
import {
  WebhookDelivery,
  WebhookDeliveryPage,
  WebhookDeliveryQuery,
} from '../../contract/schemas/webhook-endpoint.ts';
import { MAX_SKIPPED } from '../../records/records.ts';
import { redeliver } from '../../webhooks/redeliver.ts';
import type { DeliveryRecord } from '../../webhooks/webhook-store.ts';
import { answers, IdInPath, json } from '../responses.ts';

const tags = ['webhooks'];

/** The delivery log: what was told to whom, and what they answered. */
export const webhookDeliveries: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/v1/webhook-deliveries',
    {
      schema: {
        operationId: 'listWebhookDeliveries',
        summary: 'Deliveries, newest first; kept for a week, the latest 10,000',
        tags,
        querystring: WebhookDeliveryQuery,
        response: answers({ 200: Link(WebhookDeliveryPage) }),
      },
    },
    async (request) => {
      const { limit = 20, after, endpointId, subjectId, status } = request.query;
      const accept = (delivery: DeliveryRecord) =>
        (endpointId === undefined || delivery.endpointId === endpointId) &&
        (subjectId === undefined || delivery.subjectId === subjectId) &&
        (status === undefined || delivery.status === status);
      const { data, ...page } = await request.store.webhooks.deliveries.list({
        limit,
        after,
        accept,
        mostPassed: MAX_SKIPPED,
      });
      return { data: data.map(viewDelivery), ...page };
    },
  );

  app.get(
    '/v1/webhook-deliveries/:id',
    {
      schema: {
        operationId: 'getWebhookDelivery',
        summary: 'A delivery with its attempts',
        tags,
        params: IdInPath,
        response: answers({ 200: json(WebhookDelivery, 'the delivery') }),
      },
    },
    async (request) => viewDelivery(await request.store.webhooks.deliveries.get(request.params.id)),
  );

  app.post(
    '/v1/webhook-deliveries/:id/redeliver',
    {
      schema: {
        operationId: 'redeliverWebhook',
        summary: 'Deliver once more, now, with the same `webhook-id`',
        tags,
        params: IdInPath,
        response: answers({ 202: json(WebhookDelivery, 'it is on its way') }),
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
