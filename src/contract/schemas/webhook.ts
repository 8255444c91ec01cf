import { type Static, Type } from 'typebox';
import { OneOf } from './common.ts';

/** What can be told. `webhook.test` is sent on request alone. */
export const WEBHOOK_EVENTS = [
  'job.succeeded',
  'job.failed',
  'job.canceled',
  'job.expired',
  'job.paused',
  'sample.succeeded',
  'sample.failed',
] as const;
export type WebhookEventType = (typeof WEBHOOK_EVENTS)[number];
export const JOB_EVENTS = WEBHOOK_EVENTS.filter((type) => type.startsWith('job.'));
export type DeliveryType = WebhookEventType | 'webhook.test';

/** What it is worth is checked by `src/webhooks/resolve-target.ts`: what is wrong with it may hold a password, and is not quoted. */
export const AskedUrl = Type.String({
  minLength: 1,
  maxLength: 2048,
  description: 'https://, a public host, no user name or password; redirects are not followed',
  'x-accepts': 'an address of at most 2048 characters that begins with https://',
  'x-secret': true,
});
/** 24 to 64 bytes as base64 writes them: whole groups of four, and in the last one no bits that stand for nothing. */
const BASE64 = (() => {
  const [one, two] = ['[A-Za-z0-9+/][AQgw]==', '[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]='];
  const groups = (count: string) => `(?:[A-Za-z0-9+/]{4}){${count}}`;
  return `(?:${groups('8,20')}(?:${one}|${two})?|${groups('21')}(?:${one})?)`;
})();
export const AskedSecret = Type.String({
  pattern: `^whsec_${BASE64}$`,
  description: 'signs the deliveries (Standard Webhooks); one is made when it is left out',
  'x-accepts': '"whsec_" and 24 to 64 bytes in base64, with its padding',
  'x-secret': true,
});
export const WebhookUrl = Type.String({ description: 'where deliveries go' });

/** A choice of what to tell. */
export const chosenEvents = <const T extends readonly string[]>(types: T, description: string) =>
  Type.Array(OneOf(types), {
    minItems: 1,
    maxItems: types.length,
    uniqueItems: true,
    description,
    'x-accepts': `1 to ${types.length} different of ${types.join(', ')}`,
  });

/** `webhook` in the request of a job. */
export const JobWebhookRequest = Type.Object(
  {
    url: AskedUrl,
    secret: Type.Optional(AskedSecret),
    events: Type.Optional(chosenEvents(JOB_EVENTS, 'left out: all of them')),
  },
  {
    $id: 'JobWebhookRequest',
    additionalProperties: false,
    description: 'who is told how this job goes',
    'x-accepts': '{"url", "secret", "events"}; only `url` is needed',
    'x-secret': true,
  },
);
export type JobWebhookRequest = Static<typeof JobWebhookRequest>;

/** `webhook` of a job. */
export const JobWebhook = Type.Object(
  {
    url: WebhookUrl,
    events: Type.Array(OneOf(JOB_EVENTS)),
    secret: Type.Optional(
      Type.String({
        description: 'the one that was made; in the answer to the request that queued the job alone',
      }),
    ),
  },
  { $id: 'JobWebhook' },
);
export type JobWebhook = Static<typeof JobWebhook>;
