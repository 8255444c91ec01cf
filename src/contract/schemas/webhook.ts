import { type Static, Type } from 'typebox';
import { OneOf } from './common.ts';

/** Events that webhooks can receive. `webhook.test` is sent only on request. */
export const WEBHOOK_EVENTS = [
  'job.succeeded',
  'job.failed',
  'job.canceled',
  'job.expired',
  'job.paused',
  'sample.succeeded',
  'sample.failed',
] as const;
/** An event of a job or a batch of samples. */
export type WebhookEventType = (typeof WEBHOOK_EVENTS)[number];
/** The events of jobs. */
export const JOB_EVENTS = WEBHOOK_EVENTS.filter((type) => type.startsWith('job.'));
/** The event of a delivery. */
export type DeliveryType = WebhookEventType | 'webhook.test';

/**
 * The receiver's address in a request. It may contain a password, so problems do not quote it
 * (`x-secret`).
 */
export const RequestedUrl = Type.String({
  minLength: 1,
  maxLength: 2048,
  description: 'https, a public host, without user name and password; redirects are not followed',
  'x-accepts': 'an address of at most 2048 characters that begins with https://',
  'x-secret': true,
});
/**
 * Pattern of 24 to 64 bytes in canonical base64: groups of four, the unused bits of the last one
 * zero.
 */
const BASE64 = (() => {
  const [one, two] = ['[A-Za-z0-9+/][AQgw]==', '[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]='];
  const groups = (count: string) => `(?:[A-Za-z0-9+/]{4}){${count}}`;
  return `(?:${groups('8,20')}(?:${one}|${two})?|${groups('21')}(?:${one})?)`;
})();
/** The secret that signs deliveries, in a request. */
export const RequestedSecret = Type.String({
  pattern: `^whsec_${BASE64}$`,
  description: 'signs the deliveries (Standard Webhooks); left out: the service makes one',
  'x-accepts': '"whsec_" and 24 to 64 bytes in base64, with its padding',
  'x-secret': true,
});
/** The receiver's address in a response. */
export const WebhookUrl = Type.String({ description: 'address that receives the deliveries' });

/** A schema for a selection of events. */
export const eventSelection = <const T extends readonly string[]>(types: T, description: string) =>
  Type.Array(OneOf(types), {
    minItems: 1,
    maxItems: types.length,
    uniqueItems: true,
    description,
    'x-accepts': `1 to ${types.length} different of ${types.join(', ')}`,
  });

/** `webhook` in a request for a job. */
export const JobWebhookRequest = Type.Object(
  {
    url: RequestedUrl,
    secret: Type.Optional(RequestedSecret),
    events: Type.Optional(eventSelection(JOB_EVENTS, 'left out: all events of the job')),
  },
  {
    $id: 'JobWebhookRequest',
    additionalProperties: false,
    description: 'a receiver of events of this job, beside the endpoints',
    'x-accepts': '{"url", "secret", "events"}; only `url` is required',
    'x-secret': true,
  },
);
export type JobWebhookRequest = Static<typeof JobWebhookRequest>;

/** `webhook` of a job in responses. */
export const JobWebhook = Type.Object(
  {
    url: WebhookUrl,
    events: Type.Array(OneOf(JOB_EVENTS)),
    secret: Type.Optional(
      Type.String({
        description: 'the secret that the service made; only the response that created the job has it',
      }),
    ),
  },
  { $id: 'JobWebhook' },
);
export type JobWebhook = Static<typeof JobWebhook>;
