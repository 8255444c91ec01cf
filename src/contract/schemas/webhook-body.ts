import { Type } from 'typebox';
import { Id, Link, OneOf } from './common.ts';
import { Job } from './job.ts';
import { Sample } from './sample.ts';
import { JOB_EVENTS } from './webhook.ts';

/** What is sent: the bodies of deliveries. */
const body = { timestamp: Type.String({ format: 'date-time', description: 'when it happened' }) };

export const JobWebhookBody = Type.Object(
  { type: OneOf(JOB_EVENTS), ...body, data: Link(Job) },
  { $id: 'JobWebhookBody', description: 'the job as GET shows it' },
);
export const SampleWebhookBody = Type.Object(
  { type: OneOf(['sample.succeeded', 'sample.failed']), ...body, data: Link(Sample) },
  { $id: 'SampleWebhookBody', description: 'the sample as GET shows it' },
);
export const TestWebhookBody = Type.Object(
  {
    type: Type.Literal('webhook.test'),
    ...body,
    data: Type.Object({ endpointId: Id('whe', 'the endpoint') }),
  },
  { $id: 'TestWebhookBody' },
);
