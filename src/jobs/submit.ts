import { newId } from './ids.ts';
import { withinQuota } from './quota.ts';
import type { Warning } from './schemas/common.ts';
import type { JobSettings } from './schemas/job.ts';
import type { SampleSettings } from './schemas/sample.ts';
import type { JobWebhook } from './schemas/webhook.ts';
import type { JobRecord, SampleRecord, TenantStore } from './store.ts';
import { queueNew } from './waiting.ts';
import { SECRETS, type SigningSecret } from './webhook-store.ts';

interface Submission {
  /** A new one when left out. */
  readonly id?: string;
  readonly warnings: readonly Warning[];
  readonly requestId: string;
  /** RFC 3339. */
  readonly now: string;
  /** Hash of the request's body: what another request with the same id is held against. */
  readonly digest?: string;
}

/** Who is told of a job, and what signs. */
export interface AcceptedWebhook {
  readonly webhook: JobWebhook;
  readonly secrets: readonly SigningSecret[];
}

/**
 * Accepts a job: its record is written, then it is queued. Once it is written it is accepted: when it could not be queued,
 * because Redis went away in between, those who look after that do it (`waiting.ts`).
 * @throws ProblemError `quota-exceeded` when the tenant has too much already, `conflict` when another one has this id; nothing is
 * left behind
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
    told = null,
  }: Submission & { readonly told?: AcceptedWebhook | null },
): Promise<JobRecord> {
  const record: JobRecord = {
    ...fresh(store, { id, warnings, requestId, now }),
    ...settings,
    progress: {
      stage: 'waiting',
      iteration: 0,
      images: 0,
      of: settings.budget.images,
      fraction: 0,
      secondsLeft: null,
      imagesPerSecond: null,
    },
    rewards: null,
    report: null,
    policyId: null,
    sampleId: null,
    previewUrl: null,
    cancelRequested: false,
    keepPartial: false,
    checkpoint: null,
    takenAt: null,
    webhook: told?.webhook ?? null,
    ...(digest ? { digest } : {}),
  };
  const hide = told ? { [SECRETS]: told.secrets } : {};
  const events = [{ type: 'status', data: { status: 'queued', stage: 'waiting' } }];
  const deadline = settings.deadline === null ? undefined : Date.parse(settings.deadline);
  const images = settings.budget.images + 2 * settings.reportDraws + settings.samples;
  await withinQuota(store, { id, images }, async () => {
    const isNew = await store.jobs.create(record, { events, hide, onlyNew: true, queue: true, deadline });
    await queueNew(store, record);
    return isNew;
  });
  return record;
}

/** Accepts a batch of samples, in the same way. */
export async function submitSample(
  store: TenantStore,
  settings: SampleSettings,
  { id = newId('smp'), warnings, requestId, now }: Submission,
): Promise<SampleRecord> {
  const record: SampleRecord = {
    ...fresh(store, { id, warnings, requestId, now }),
    ...settings,
    images: [],
  };
  const parent = settings.policyId ?? undefined;
  await withinQuota(store, { id, images: settings.bestOf }, async () => {
    const isNew = await store.samples.create(record, { parent, onlyNew: true, queue: true });
    await queueNew(store, record);
    return isNew;
  });
  return record;
}

/** What every record of accepted work begins with. */
function fresh({ tenant }: TenantStore, { id, warnings, requestId, now }: Submission & { readonly id: string }) {
  const times = { createdAt: now, startedAt: null, finishedAt: null };
  const outcome = { error: null, warnings: [...warnings], attempts: 0 };
  return { id, tenant, status: 'queued' as const, ...times, ...outcome, requestId };
}
