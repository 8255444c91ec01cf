import { derivedId, newId } from '../contract/ids.ts';
import { ProblemError } from '../contract/problem.ts';
import type { JobRecord, SampleRecord } from '../contract/records.ts';
import type { Warning } from '../contract/schemas/common.ts';
import type { JobSettings } from '../contract/schemas/job.ts';
import type { SampleSettings } from '../contract/schemas/sample.ts';
import { enqueue } from '../queue/enqueue.ts';
import { JobReading } from '../store/job-reader.ts';
import type { TenantStore } from '../store/store.ts';
import { checkWorkSize } from '../tenancy/quota.ts';
import { SECRETS_FIELD } from '../webhooks/store.ts';
import type { ValidatedWebhook } from '../webhooks/validate-target.ts';

interface Submission {
  /** Left out: a new id. */
  readonly id?: string;
  readonly warnings: readonly Warning[];
  readonly requestId: string;
  /** RFC 3339. */
  readonly now: string;
  /** Of the request's span, if traces are on. */
  readonly traceparent?: string;
  /** Hash of the request's body, with which another request for the same id is compared. */
  readonly digest?: string;
}

/**
 * Creates a job and queues it, in one change of Redis.
 * @returns the new job; null when there is one with this id already, which stays as it was
 * @throws ProblemError `quota-exceeded` if the tenant has reached a limit, `not-possible` if the
 * job is larger than its key allows, `conflict` if another tenant has this id; no record is written
 * then
 */
export async function submitJob(
  store: TenantStore,
  settings: JobSettings,
  {
    id = newId('job'),
    warnings,
    requestId,
    now,
    digest,
    traceparent,
    webhook = null,
    deviceParameters = [],
  }: Submission & Pick<JobRecord, 'deviceParameters'> & { readonly webhook?: ValidatedWebhook | null },
): Promise<JobReading | null> {
  const record: JobRecord = {
    ...settings,
    id,
    tenant: store.tenant,
    status: 'queued',
    createdAt: now,
    startedAt: null,
    finishedAt: null,
    progress: {
      stage: 'waiting',
      iteration: 0,
      images: 0,
      of: settings.budget.images,
      fraction: 0,
      secondsLeft: null,
      imagesPerSecond: null,
      workers: 0,
    },
    rewards: null,
    report: null,
    policyId: null,
    sampleId: null,
    previewUrl: null,
    error: null,
    warnings: [...warnings],
    webhook: webhook?.webhook ?? null,
    attempts: 0,
    requestId,
    cancelRequested: false,
    keepPartial: false,
    checkpoint: null,
    takenAt: null,
    deviceParameters,
    digest,
    traceparent,
  };
  const images = settings.budget.images + 2 * settings.reportDraws + settings.samples;
  checkWorkSize(store, { images, seconds: settings.budget.seconds, sampler: settings.sampler });
  const { isNew, position } = await enqueue(store, record, {
    images,
    event: { status: 'queued', stage: 'waiting' },
    deadline: settings.deadline === null ? undefined : Date.parse(settings.deadline),
    internal: webhook ? { [SECRETS_FIELD]: webhook.secrets } : undefined,
  });
  return isNew ? new JobReading(record, position) : null;
}

/**
 * Creates a batch of samples and queues it, in one change of Redis.
 * @throws ProblemError as `submitJob`
 */
export async function submitSample(
  store: TenantStore,
  settings: SampleSettings,
  { id = newId('smp'), warnings, requestId, now, traceparent }: Submission,
): Promise<SampleRecord> {
  const origin = { id, tenant: store.tenant, warnings, requestId, now };
  const record = { ...createSampleRecord(settings, origin), traceparent };
  checkWorkSize(store, { images: settings.bestOf, sampler: settings.sampler });
  await enqueue(store, record, { images: settings.bestOf, parent: settings.policyId ?? undefined });
  return record;
}

/** The record of a new batch of samples that no worker has taken. */
export function createSampleRecord(
  settings: SampleSettings,
  origin: {
    readonly id: string;
    readonly tenant: string;
    readonly warnings: readonly Warning[];
    readonly requestId: string | null;
    /** RFC 3339. */
    readonly now: string;
  },
): SampleRecord {
  return {
    ...settings,
    id: origin.id,
    tenant: origin.tenant,
    status: 'queued',
    createdAt: origin.now,
    startedAt: null,
    finishedAt: null,
    images: [],
    error: null,
    warnings: [...origin.warnings],
    attempts: 0,
    requestId: origin.requestId,
  };
}

/**
 * Checks that a client may give this id to a new job. The ids of the job's policy and samples
 * derive from it, so no record of any tenant may have or have had one of the three. The error does
 * not say which tenant that is.
 * @throws ProblemError `gone` if the tenant's job with this id was deleted; `conflict` if something
 * else has or had one of the ids
 */
export async function checkClientId(store: TenantStore, id: string): Promise<void> {
  const { redis, keys } = store;
  const ids = [id, derivedId('pol', id), derivedId('smp', id)];
  const taken = await redis.exists(...ids.flatMap((each) => [keys.record(each), keys.gone(each)]));
  if (taken === 0) return;
  // A request with the same id has just created the job; the caller compares the two.
  if (await store.jobs.find(id)) return;
  // `get` throws 410 for a deleted job.
  if (await store.jobs.findGone(id)) await store.jobs.get(id);
  throw new ProblemError('conflict', `The id ${id} is taken; choose another one.`);
}
