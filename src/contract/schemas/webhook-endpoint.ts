import { type Static, Type } from 'typebox';
import { FreeText, Id, Nullable, OneOf, Page, pageQuery, Ref, Timestamp } from './common.ts';
import { eventSelection, RequestedSecret, RequestedUrl, WEBHOOK_EVENTS, WebhookUrl } from './webhook.ts';

const NewSecret = Type.String({ description: 'signs the deliveries; no later response contains it' });

const endpoint = {
  object: Type.Literal('webhook-endpoint'),
  id: Id('whe', 'the endpoint'),
  url: WebhookUrl,
  description: Type.String(),
  events: Type.Array(OneOf(WEBHOOK_EVENTS)),
  enabled: Type.Boolean(),
  disabledReason: Nullable(
    Type.String({
      description: 'why the service disabled it: it answered 410, or all deliveries failed for five days',
    }),
  ),
  failingSince: Nullable(
    Type.String({
      format: 'date-time',
      description:
        'time since which every attempt has failed; null: the latest one succeeded, or there was none',
    }),
  ),
  createdAt: Timestamp,
};
/** A webhook endpoint as clients see it. */
export const WebhookEndpoint = Type.Object(endpoint, { $id: 'WebhookEndpoint' });
export type WebhookEndpoint = Static<typeof WebhookEndpoint>;
/** A new endpoint, with its secret. */
export const NewWebhookEndpoint = Type.Object(
  { ...endpoint, secret: NewSecret },
  { $id: 'NewWebhookEndpoint' },
);
/** Response of GET /v1/webhook-endpoints. */
export const WebhookEndpointPage = Page(WebhookEndpoint, 'WebhookEndpointPage');
/** Query of GET /v1/webhook-endpoints. */
export const WebhookEndpointQuery = Type.Object(pageQuery('whe'), { additionalProperties: false });

const endpointFields = {
  description: Type.Optional(FreeText(0, 256, 'a note of yours')),
  events: Type.Optional(eventSelection(WEBHOOK_EVENTS, 'left out: all events')),
};
/** Body of POST /v1/webhook-endpoints. */
export const WebhookEndpointRequest = Type.Object(
  { url: RequestedUrl, secret: Type.Optional(RequestedSecret), ...endpointFields },
  { $id: 'WebhookEndpointRequest', additionalProperties: false, 'x-secret': true },
);
export type WebhookEndpointRequest = Static<typeof WebhookEndpointRequest>;
/** Body of PATCH /v1/webhook-endpoints/{id}. */
export const WebhookEndpointPatch = Type.Object(
  { url: Type.Optional(RequestedUrl), enabled: Type.Optional(Type.Boolean()), ...endpointFields },
  {
    $id: 'WebhookEndpointPatch',
    additionalProperties: false,
    description: 'fields that are left out do not change',
    'x-secret': true,
  },
);
export type WebhookEndpointPatch = Static<typeof WebhookEndpointPatch>;

/** Body of POST /v1/webhook-endpoints/{id}/rotate-secret. */
export const RotateSecretRequest = Type.Object(
  {
    secret: Type.Optional(RequestedSecret),
    keepSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 604_800,
        default: 86_400,
        description: 'seconds during which the old secret signs too; 0: it does not sign any more',
      }),
    ),
  },
  { $id: 'RotateSecretRequest', additionalProperties: false, 'x-secret': true },
);
export type RotateSecretRequest = Static<typeof RotateSecretRequest>;
/** A new secret of an endpoint. */
export const RotatedSecret = Type.Object(
  { secret: NewSecret, oldValidUntil: Timestamp },
  { $id: 'RotatedSecret', description: 'until `oldValidUntil`, deliveries have a signature of each secret' },
);

/** States of a delivery. */
export const DELIVERY_STATUSES = ['pending', 'succeeded', 'failed'] as const;

/** One attempt to deliver. */
export const DeliveryAttempt = Type.Object(
  {
    at: Timestamp,
    milliseconds: Type.Integer(),
    status: Nullable(Type.Integer({ description: 'HTTP status of the response; null: there was none' })),
    error: Nullable(Type.String({ description: 'why the attempt failed; null: it succeeded' })),
  },
  { $id: 'DeliveryAttempt' },
);
export type DeliveryAttempt = Static<typeof DeliveryAttempt>;

/** The delivery of one event to one receiver. */
export const WebhookDelivery = Type.Object(
  {
    object: Type.Literal('webhook-delivery'),
    id: Id('dlv', 'the delivery'),
    eventId: Id('evt', 'the event; every attempt sends it as the header `webhook-id`'),
    type: OneOf([...WEBHOOK_EVENTS, 'webhook.test']),
    endpointId: Nullable(Id('whe', "the endpoint; null: the receiver is the job's own `webhook`")),
    subjectId: Nullable(Type.String({ description: 'id of the job or the batch of samples' })),
    url: WebhookUrl,
    status: OneOf(DELIVERY_STATUSES, {
      description: '`pending`: the next attempt is at `nextAttemptAt`',
    }),
    createdAt: Timestamp,
    finishedAt: Nullable(Timestamp),
    nextAttemptAt: Nullable(Timestamp),
    attempts: Type.Array(Ref(DeliveryAttempt), { description: 'the latest 20 attempts, oldest first' }),
    attemptCount: Type.Integer(),
  },
  { $id: 'WebhookDelivery' },
);
export type WebhookDelivery = Static<typeof WebhookDelivery>;
/** Response of GET /v1/webhook-deliveries. */
export const WebhookDeliveryPage = Page(WebhookDelivery, 'WebhookDeliveryPage');
/** Query of GET /v1/webhook-deliveries. */
export const WebhookDeliveryQuery = Type.Object(
  {
    ...pageQuery('dlv'),
    endpointId: Type.Optional(Id('whe', 'an endpoint')),
    subjectId: Type.Optional(
      Type.String({ minLength: 1, maxLength: 128, description: 'id of a job or a batch of samples' }),
    ),
    status: Type.Optional(OneOf(DELIVERY_STATUSES)),
  },
  { additionalProperties: false },
);
