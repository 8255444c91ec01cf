import { WEBHOOK_EVENTS } from '../../contract/schemas/webhook.ts';

const SUMMARIES: { readonly [type: string]: string } = {
  'job.succeeded': 'A job has learned its distribution',
  'job.failed': 'A job failed; `error` says why',
  'job.canceled': 'A job was canceled',
  'job.expired': "A job's deadline passed before a worker started it",
  'job.paused': 'A job was paused',
  'sample.succeeded': 'The images of a sample are stored',
  'sample.failed': 'A sample failed; `error` says why',
  'webhook.test': 'A client requested a test of the endpoint',
};

const header = (name: string, description: string) => ({
  name,
  in: 'header',
  required: true,
  description,
  schema: { type: 'string' },
});

const HEADERS = [
  header(
    'webhook-id',
    'id of the event (`evt_...`), the same in every attempt; use it to handle an event once',
  ),
  header('webhook-timestamp', 'time of this attempt, in seconds since 1970'),
  header(
    'webhook-signature',
    '`v1,` and the base64 of the HMAC-SHA256 of id, timestamp and body, joined by "."; ' +
      'for a while after a rotation of the secret two signatures, separated by a space',
  ),
];

const bodyOf = (type: string) =>
  ({ job: 'JobWebhookBody', sample: 'SampleWebhookBody', webhook: 'TestWebhookBody' })[type.split('.')[0]];

/**
 * The section `webhooks` of the OpenAPI document: the requests that receivers get, and how to
 * answer them.
 */
export const WEBHOOKS = Object.fromEntries(
  [...WEBHOOK_EVENTS, 'webhook.test'].map((type) => [
    type,
    {
      post: {
        operationId: `on${type.replace(/(^|\.)(.)/g, (_all, _dot, letter: string) => letter.toUpperCase())}`,
        summary: SUMMARIES[type],
        description:
          'Signed as in Standard Webhooks. Delivered at least once; events may arrive in any order.',
        tags: ['webhooks'],
        parameters: HEADERS,
        requestBody: {
          required: true,
          content: { 'application/json': { schema: { $ref: `#/components/schemas/${bodyOf(type)}` } } },
        },
        responses: {
          '2XX': { description: 'delivered' },
          '410': { description: 'unwanted: the endpoint is disabled' },
          default: { description: 'retried for about a day, as `Retry-After` asks' },
        },
      },
    },
  ]),
);
