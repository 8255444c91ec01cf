import { Type } from 'typebox';
import { Id, OneOf, Ref } from './common.ts';
import { Job } from './job.ts';
import { Sample } from './sample.ts';
import { JOB_EVENTS } from './webhook.ts';

/** Fields that the bodies of all deliveries share. */
const body = { timestamp: Type.String({ format: 'date-time', description: 'time of the event' }) };

/** Body of an event of a job. */
export const JobWebhookBody = Type.Object(
  { type: OneOf(JOB_EVENTS), ...body, data: Ref(Job) },
  { $id: 'JobWebhookBody', description: '`data` is the job as GET /v1/jobs/{id} returns it' },
);
/** Body of an event of a batch of samples. */
export const SampleWebhookBody = Type.Object(
  { type: OneOf(['sample.succeeded', 'sample.failed']), ...body, data: Ref(Sample) },
  { $id: 'SampleWebhookBody', description: '`data` is the batch as GET /v1/samples/{id} returns it' },
);
/** Body of `webhook.test`. */
export const TestWebhookBody = Type.Object(
  {
    type: Type.Literal('webhook.test'),
    ...body,
    data: Type.Object({ endpointId: Id('whe', 'the endpoint') }),
  },
  { $id: 'TestWebhookBody' },
);
