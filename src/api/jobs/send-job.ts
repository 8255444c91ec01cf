import type { FastifyReply, FastifyRequest } from 'fastify';
import type { JobRecord } from '../../contract/records.ts';
import { FINAL_STATUSES, type Job, type JobRequest } from '../../contract/schemas/job.ts';
import { viewJob } from '../../contract/views.ts';
import type { JobReading } from '../../store/job-reader.ts';
import type { TenantStore } from '../../store/store.ts';
import { SECRETS_FIELD, type SigningSecret } from '../../webhooks/store.ts';
import { preferredWait, readWhen } from '../http/prefer.ts';
import { jsonText } from '../http/send.ts';

/** A job as clients see it, with its current position in the queue. */
export async function viewCurrentJob({ queues }: TenantStore, record: JobRecord): Promise<Job> {
  return viewJob(record, record.status === 'queued' ? await queues.position('optimize', record.id) : null);
}

/**
 * Answers a request that created or found a job: 202 with the job, held as `Prefer: wait` asks
 * until the job has ended.
 * @param created the job if this request created it: then it is sent without reading it again
 */
export async function sendJob(
  request: FastifyRequest,
  reply: FastifyReply,
  id: string,
  created: JobReading | null,
): Promise<Job> {
  const { store } = request;
  const milliseconds = preferredWait(request, reply);
  const requestedWebhook = (request.body as JobRequest).webhook;
  reply.header('location', `/v1/jobs/${id}`);
  if (created && milliseconds === 0 && !requestedWebhook) {
    acceptJob(reply, 'queued');
    return jsonText<Job>(reply, created.json);
  }
  const record = await readWhen(request, reply, {
    id,
    milliseconds,
    read: () => store.jobs.get(id),
    isReached: ({ status }) => FINAL_STATUSES.includes(status),
  });
  const job = await viewCurrentJob(store, record);
  if (job.webhook && requestedWebhook && requestedWebhook.secret === undefined) {
    // The service chose the secret. A repeated request gets it too: the first response may have
    // been lost.
    const secrets = await store.jobs.internalField<SigningSecret[]>(id, SECRETS_FIELD);
    if (secrets) job.webhook = { ...job.webhook, secret: secrets[0].secret };
  }
  acceptJob(reply, job.status);
  return job;
}

/** Sets 202, and `Retry-After` unless the job has ended. */
export function acceptJob(reply: FastifyReply, status: JobRecord['status']): void {
  if (!FINAL_STATUSES.includes(status)) reply.header('retry-after', '1');
  reply.code(202);
}
