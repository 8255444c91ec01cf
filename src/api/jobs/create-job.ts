import type { FastifyRequest } from 'fastify';
import { ProblemError } from '../../contract/problem.ts';
import type { JobRequest } from '../../contract/schemas/job.ts';
import { ensureQueued } from '../../jobs/requeue.ts';
import { resolveJob } from '../../jobs/resolve-request.ts';
import { submitJob } from '../../jobs/submit.ts';
import type { JobReading } from '../../store/job-reader.ts';
import { type ValidatedWebhook, validateJobWebhook } from '../../webhooks/validate-target.ts';
import type { Services } from '../services.ts';

/** A valid request for a job, with every value that the job will use. */
export type PreparedJob = ReturnType<typeof resolveJob> & { readonly webhook: ValidatedWebhook | null };

/**
 * Validates a request for a job against the installed bundles.
 * @throws ProblemError that names the value that is not accepted
 */
export async function prepareJob({ catalog, config }: Services, body: JobRequest): Promise<PreparedJob> {
  const resolved = resolveJob(body, await catalog.now());
  const webhook = body.webhook ? validateJobWebhook(body.webhook, config.webhookAllow) : null;
  return { ...resolved, webhook };
}

/**
 * Creates a job under an id, or finds the one that an earlier request created under it.
 * @param mayExist whether there can have been an earlier request
 * @param digest hash of the body, where the client chose the id: an existing job must have the
 *   same
 * @param prepare called only for a job that does not exist
 * @returns null when the job existed
 * @throws ProblemError `idempotency-mismatch` when the digest differs, `gone` when the job was
 *   deleted, `quota-exceeded`, `conflict`, and whatever `prepare` throws
 */
export async function createJob(
  { store, id: requestId, span }: FastifyRequest,
  {
    id,
    mayExist,
    digest,
    prepare,
  }: {
    readonly id: string;
    readonly mayExist: boolean;
    readonly digest?: string;
    readonly prepare: () => Promise<PreparedJob>;
  },
): Promise<JobReading | null> {
  const existing = mayExist ? await store.jobs.findUnlessGone(id) : null;
  if (!existing) {
    const { settings, ...prepared } = await prepare();
    const now = new Date().toISOString();
    const created = await submitJob(store, settings, {
      ...prepared,
      id,
      requestId,
      now,
      digest,
      traceparent: span?.traceparent,
    });
    if (created) return created;
  } else if (existing.status === 'queued') {
    // A crash may have left the record without its queue entry.
    await ensureQueued(store, existing);
  }
  // Of simultaneous requests with one id, the first one creates the job.
  if (digest !== undefined && (existing ?? (await store.jobs.get(id))).digest !== digest)
    throw new ProblemError(
      'idempotency-mismatch',
      `The job ${id} exists already and was created by another request. Use a new id for a new request.`,
    );
  return null;
}
