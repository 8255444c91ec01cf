import { type Static, Type } from 'typebox';
import { Id, Link, Nullable, OneOf, Page, Prose, pageQuery, Timestamp } from './common.ts';
import { AskedSecret, AskedUrl, chosenEvents, WEBHOOK_EVENTS, WebhookUrl } from './webhook.ts';

const ShownSecret = Type.String({ description: 'signs the deliveries; shown this once' });

const endpoint = {
  object: Type.Literal('webhook-endpoint'),
  id: Id('whe', 'the endpoint'),
  url: WebhookUrl,
  description: Type.String(),
  events: Type.Array(OneOf(WEBHOOK_EVENTS)),
  enabled: Type.Boolean(),
  disabledReason: Nullable(
    Type.String({
      description: 'why the service disabled it: it answered 410, or nothing but failures for five days',
    }),
  ),
  failingSince: Nullable(
    Type.String({
      format: 'date-time',
      description: 'since when every attempt has failed; null: the last one went well, or there was none',
    }),
  ),
  createdAt: Timestamp,
};
export const WebhookEndpoint = Type.Object(endpoint, { $id: 'WebhookEndpoint' });
export type WebhookEndpoint = Static<typeof WebhookEndpoint>;
export const NewWebhookEndpoint = Type.Object(
  { ...endpoint, secret: ShownSecret },
  { $id: 'NewWebhookEndpoint' },
);
export const WebhookEndpointPage = Page(WebhookEndpoint, 'WebhookEndpointPage');
export const WebhookEndpointQuery = Type.Object(pageQuery('whe'), { additionalProperties: false });

const endpointFields = {
  description: Type.Optional(Prose(0, 256, 'for yourself')),
  events: Type.Optional(chosenEvents(WEBHOOK_EVENTS, 'left out: all of them')),
};
export const WebhookEndpointRequest = Type.Object(
  { url: AskedUrl, secret: Type.Optional(AskedSecret), ...endpointFields },
  { $id: 'WebhookEndpointRequest', additionalProperties: false, 'x-secret': true },
);
export type WebhookEndpointRequest = Static<typeof WebhookEndpointRequest>;
export const WebhookEndpointPatch = Type.Object(
  { url: Type.Optional(AskedUrl), enabled: Type.Optional(Type.Boolean()), ...endpointFields },
  {
    $id: 'WebhookEndpointPatch',
    additionalProperties: false,
    description: 'what is left out stays as it is',
    'x-secret': true,
  },
);
export type WebhookEndpointPatch = Static<typeof WebhookEndpointPatch>;

export const RotateSecretRequest = Type.Object(
  {
    secret: Type.Optional(AskedSecret),
    keepSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 604_800,
        default: 86_400,
        description: 'the old secret signs too for so long; 0: it is worth nothing from now on',
      }),
    ),
  },
  { $id: 'RotateSecretRequest', additionalProperties: false, 'x-secret': true },
);
export type RotateSecretRequest = Static<typeof RotateSecretRequest>;
export const RotatedSecret = Type.Object(
  { secret: ShownSecret, oldValidUntil: Timestamp },
  { $id: 'RotatedSecret', description: 'until then deliveries carry a signature by each' },
);

export const DELIVERY_STATUSES = ['pending', 'succeeded', 'failed'] as const;

export const DeliveryAttempt = Type.Object(
  {
    at: Timestamp,
    milliseconds: Type.Integer(),
    status: Nullable(Type.Integer({ description: 'HTTP status of the answer; null: there was none' })),
    error: Nullable(Type.String({ description: 'why it does not count as delivered' })),
  },
  { $id: 'DeliveryAttempt' },
);
export type DeliveryAttempt = Static<typeof DeliveryAttempt>;

export const WebhookDelivery = Type.Object(
  {
    object: Type.Literal('webhook-delivery'),
    id: Id('dlv', 'the delivery'),
    eventId: Id('evt', 'what happened: the header `webhook-id` of every attempt'),
    type: OneOf([...WEBHOOK_EVENTS, 'webhook.test']),
    endpointId: Nullable(Id('whe', "the endpoint; null: the job's own `webhook`")),
    subjectId: Nullable(Type.String({ description: 'id of the job or the sample that it is about' })),
    url: WebhookUrl,
    status: OneOf(DELIVERY_STATUSES, {
      description: 'pending: it is tried, or tried again at `nextAttemptAt`',
    }),
    createdAt: Timestamp,
    finishedAt: Nullable(Timestamp),
    nextAttemptAt: Nullable(Timestamp),
    attempts: Type.Array(Link(DeliveryAttempt), { description: 'the latest 20, oldest first' }),
    attemptCount: Type.Integer(),
  },
  { $id: 'WebhookDelivery' },
);
export type WebhookDelivery = Static<typeof WebhookDelivery>;
export const WebhookDeliveryPage = Page(WebhookDelivery, 'WebhookDeliveryPage');
export const WebhookDeliveryQuery = Type.Object(
  {
    ...pageQuery('dlv'),
    endpointId: Type.Optional(Id('whe', 'an endpoint')),
    subjectId: Type.Optional(
      Type.String({ minLength: 1, maxLength: 128, description: 'id of a job or a sample' }),
    ),
    status: Type.Optional(OneOf(DELIVERY_STATUSES)),
  },
  { additionalProperties: false },
);
