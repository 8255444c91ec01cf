import { WEBHOOK_EVENTS } from '../contract/schemas/webhook.ts';

const SUMMARIES: { readonly [type: string]: string } = {
  'job.succeeded': 'A job has learnt its distribution',
  'job.failed': 'A job failed; `error` says why',
  'job.canceled': 'A job was canceled',
  'job.expired': "A job's deadline passed before a worker took it",
  'job.paused': 'A job was paused',
  'sample.succeeded': 'The images of a sample are there',
  'sample.failed': 'A sample failed; `error` says why',
  'webhook.test': 'Somebody asked for a test call of the endpoint',
};

const header = (name: string, description: string) => ({
  name,
  in: 'header',
  required: true,
  description,
  schema: { type: 'string' },
});

const parameters = [
  header(
    'webhook-id',
    'id of what happened (`evt_...`): the same in every attempt, so that it can be done once',
  ),
  header('webhook-timestamp', 'seconds since 1970 at which this attempt was made'),
  header(
    'webhook-signature',
    '`v1,` and the HMAC-SHA256 of id, timestamp and body, joined by ".", in base64; two of them, with a space between, for a while after a rotation',
  ),
];

const bodyOf = (type: string) =>
  ({ job: 'JobWebhookBody', sample: 'SampleWebhookBody', webhook: 'TestWebhookBody' })[type.split('.')[0]];

/** The section `webhooks` of the contract: what receivers of deliveries get, and what their answers mean. */
export const WEBHOOKS = Object.fromEntries(
  [...WEBHOOK_EVENTS, 'webhook.test'].map((type) => [
    type,
    {
      post: {
        operationId: `on${type.replace(/(^|\.)(.)/g, (_all, _dot, letter: string) => letter.toUpperCase())}`,
        summary: SUMMARIES[type],
        description: 'Signed as Standard Webhooks has it; at least once; the order is not promised.',
        tags: ['webhooks'],
        parameters,
        requestBody: {
          required: true,
          content: { 'application/json': { schema: { $ref: `#/components/schemas/${bodyOf(type)}` } } },
        },
        responses: {
          '2XX': { description: 'delivered' },
          '410': { description: 'no more of it: the endpoint is disabled' },
          default: { description: 'tried again, for about a day; `Retry-After` is heeded' },
        },
      },
    },
  ]),
);
