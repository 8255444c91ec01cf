import { newId } from '../contract/ids.ts';
import type { JobRecord, SampleRecord } from '../contract/records.ts';
import type { Warning } from '../contract/schemas/common.ts';
import type { JobSettings } from '../contract/schemas/job.ts';
import type { SampleSettings } from '../contract/schemas/sample.ts';
import { type Enqueued, enqueue } from '../queue/enqueue.ts';
import type { TenantStore } from '../store/store.ts';
import type { ValidatedWebhook } from '../webhooks/validate-target.ts';
import { SECRETS } from '../webhooks/webhook-store.ts';

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

/** What no client sees of a record. */
type Kept = Pick<
  JobRecord,
  'tenant' | 'cancelRequested' | 'keepPartial' | 'checkpoint' | 'takenAt' | 'digest'
>;

/**
 * Accepts a job: its record is written and it is queued.
 * @throws ProblemError `quota-exceeded` when the tenant has too much already, `conflict` when another one has this id; nothing is
 * left behind
 * @returns with what clients see of the record, as JSON (`newJobJson`)
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
  }: Submission & { readonly told?: ValidatedWebhook | null },
): Promise<Enqueued & { readonly shown: string }> {
  const shown: Omit<JobRecord, keyof Kept> = {
    ...settings,
    id,
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
    },
    rewards: null,
    report: null,
    policyId: null,
    sampleId: null,
    previewUrl: null,
    error: null,
    warnings: [...warnings],
    webhook: told?.webhook ?? null,
    attempts: 0,
    requestId,
  };
  const kept: Kept = {
    tenant: store.tenant,
    cancelRequested: false,
    keepPartial: false,
    checkpoint: null,
    takenAt: null,
    digest,
  };
  // Once for the record and for the answer: it is most of both.
  const shownJson = JSON.stringify(shown);
  const json = `${shownJson.slice(0, -1)},${JSON.stringify(kept).slice(1)}`;
  const hide = told ? { [SECRETS]: told.secrets } : {};
  const accepted = await enqueue(
    store,
    { id, priority: settings.priority, json },
    {
      images: settings.budget.images + 2 * settings.reportDraws + settings.samples,
      event: { status: 'queued', stage: 'waiting' },
      deadline: settings.deadline === null ? undefined : Date.parse(settings.deadline),
      hide,
    },
  );
  return { ...accepted, shown: shownJson };
}

/** Accepts a batch of samples, in the same way. */
export async function submitSample(
  store: TenantStore,
  settings: SampleSettings,
  { id = newId('smp'), warnings, requestId, now }: Submission,
): Promise<SampleRecord> {
  const record: SampleRecord = {
    ...settings,
    id,
    tenant: store.tenant,
    status: 'queued',
    createdAt: now,
    startedAt: null,
    finishedAt: null,
    images: [],
    error: null,
    warnings: [...warnings],
    attempts: 0,
    requestId,
  };
  await enqueue(
    store,
    { id, priority: settings.priority, json: JSON.stringify(record) },
    { images: settings.bestOf, parent: settings.policyId ?? undefined },
  );
  return record;
}
