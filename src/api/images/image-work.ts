import type { FastifyReply, FastifyRequest } from 'fastify';
import { type ProblemCode, ProblemError } from '../../contract/problem.ts';
import type { JobRecord, SampleRecord } from '../../contract/records.ts';
import type { CreateImageRequest } from '../../contract/schemas/create-image.ts';
import { FINAL_STATUSES } from '../../contract/schemas/job.ts';
import { resolvePolicySample, resolveSample } from '../../jobs/resolve-request.ts';
import { submitSample } from '../../jobs/submit.ts';
import { hasScope } from '../auth/scopes.ts';
import { reserveId } from '../http/idempotency.ts';
import { preferredWait, readWhen } from '../http/prefer.ts';
import { createJob, prepareJob } from '../jobs/create-job.ts';
import type { Services } from '../services.ts';
import { checkPolicyRequest, parseSize } from './image-request.ts';

/**
 * Budget of a search without a `budget`. It ends before the wait does, so that also a slow machine
 * answers with images; a search that the time ends does not repeat to the same bits.
 */
const DEFAULT_BUDGET = { images: 100, seconds: 40 };
const MAX_WAIT_MS = 60_000;

/** The work behind a request for images: a search with samples at its end, or samples alone. */
export type ImageWork =
  | { readonly kind: 'job'; readonly record: JobRecord }
  | { readonly kind: 'sample'; readonly record: SampleRecord };

/**
 * Starts a search, or finds the one that the same idempotency key started.
 * @throws ProblemError `forbidden` without the scope `jobs:write`, and those of `POST /v1/jobs`
 */
export async function startSearch(
  services: Services,
  request: FastifyRequest,
  { prompt = '', n = 1, model, reward, seed, budget, ...body }: CreateImageRequest,
): Promise<ImageWork> {
  if (request.caller && !hasScope(request.caller, 'jobs:write'))
    throw new ProblemError(
      'forbidden',
      'A search needs a key with the scope jobs:write. Name a policy, or send "optimize": false.',
    );
  const { id, isNew } = reserveId(request, 'job');
  const prepare = () =>
    prepareJob(services, {
      prompt,
      model,
      reward,
      seed,
      budget: budget ?? DEFAULT_BUDGET,
      sampler: parseSize(body),
      samples: n,
      reportDraws: 0,
    });
  await createJob(request, { id, mayExist: !isNew, prepare });
  return { kind: 'job', record: await request.store.jobs.get(id) };
}

/**
 * Starts sampling from a policy or from the base model.
 * @throws ProblemError as `POST /v1/policies/{id}/samples` and `POST /v1/samples` do
 */
export async function startSampling(
  { catalog }: Services,
  request: FastifyRequest,
  body: CreateImageRequest,
): Promise<ImageWork> {
  const { store } = request;
  const { id, isNew } = reserveId(request, 'smp');
  const existing = isNew ? null : await store.samples.findUnlessGone(id);
  if (existing) return { kind: 'sample', record: existing };
  const policy = body.policy === undefined ? null : await store.policies.get(body.policy);
  if (policy) checkPolicyRequest(body, policy);
  const { prompt = '', n = 1, model, reward, seed, output_format: format } = body;
  const shared = { count: n, reward, seed, format, ...parseSize(body) };
  const { settings, warnings } = policy
    ? resolvePolicySample(policy, shared, await catalog.now())
    : resolveSample({ prompt, model, ...shared }, await catalog.now());
  const now = new Date().toISOString();
  const record = await submitSample(store, settings, {
    id,
    warnings,
    requestId: request.id,
    now,
    traceparent: request.span?.traceparent,
  });
  return { kind: 'sample', record };
}

/** The work when it has ended, or as it is when the wait is over. */
export function awaitWork(work: ImageWork, request: FastifyRequest, reply: FastifyReply): Promise<ImageWork> {
  const { store } = request;
  const { id } = work.record;
  return readWhen(request, reply, {
    id,
    milliseconds: waitOf(request, reply),
    read: async (): Promise<ImageWork> =>
      work.kind === 'job'
        ? { kind: 'job', record: await store.jobs.get(id) }
        : { kind: 'sample', record: await store.samples.get(id) },
    isReached: ({ record }) => FINAL_STATUSES.some((status) => status === record.status),
  });
}

/**
 * The batch of images that the work made; null while it is not finished.
 * @throws ProblemError of work that failed; `conflict` when the job was canceled or has expired
 */
export async function findFinishedSample(
  work: ImageWork,
  { store }: FastifyRequest,
): Promise<SampleRecord | null> {
  const { id, status, error } = work.record;
  if (error) {
    // Records hold only codes that a ProblemError had.
    const code = error.code as ProblemCode;
    throw new ProblemError(code, `${id} failed: ${error.detail}`, error.errors);
  }
  if (status === 'canceled' || status === 'expired')
    throw new ProblemError('conflict', `The job ${id} ended (${status}) without images.`);
  if (status !== 'succeeded') return null;
  if (work.kind === 'sample') return work.record;
  return work.record.sampleId === null ? null : store.samples.get(work.record.sampleId);
}

/** Without a preference the answer waits as long as it may: people with five minutes send none. */
function waitOf(request: FastifyRequest, reply: FastifyReply): number {
  const prefer = [request.headers.prefer ?? ''].flat().join(',');
  if (/(^|[,;\s])respond-async(?=$|[,;\s])/i.test(prefer)) return 0;
  return prefer === '' ? MAX_WAIT_MS : preferredWait(request, reply);
}
