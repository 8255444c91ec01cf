import { newId } from './ids.ts';
import { ProblemError } from './problem.ts';
import type { QueueName } from './queues.ts';
import { withinQuota } from './quota.ts';
import type { Warning } from './schemas/common.ts';
import type { JobSettings } from './schemas/job.ts';
import type { SampleSettings } from './schemas/sample.ts';
import type { JobWebhook } from './schemas/webhook.ts';
import type { JobRecord, SampleRecord, Store, TenantStore } from './store.ts';
import { SECRETS, type SigningSecret } from './webhook-store.ts';

interface Submission {
  /** A new one when left out. */
  readonly id?: string;
  readonly warnings: readonly Warning[];
  readonly requestId: string;
  /** RFC 3339. */
  readonly now: string;
}

/** Who is told of a job, and what signs. */
export interface AcceptedWebhook {
  readonly webhook: JobWebhook;
  readonly secrets: readonly SigningSecret[];
}

/**
 * Accepts a job: its record is written, then it is queued.
 * @throws ProblemError `unavailable` when it could not be queued, `quota-exceeded` when the tenant has too much already; nothing is left behind
 */
export async function submitJob(
  store: TenantStore,
  settings: JobSettings,
  { id = newId('job'), warnings, requestId, now, told = null }: Submission & { readonly told?: AcceptedWebhook | null },
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
  };
  const hide = told ? { [SECRETS]: told.secrets } : {};
  const events = [{ type: 'status', data: { status: 'queued', stage: 'waiting' } }];
  const images = settings.budget.images + 2 * settings.reportDraws + settings.samples;
  await withinQuota(store, { id, images }, async () => {
    await store.jobs.create(record, { events, hide, onlyNew: true });
    await enqueue(store, 'optimize', record, () => store.jobs.discard(id));
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
  await withinQuota(store, { id, images: settings.bestOf }, async () => {
    await store.samples.create(record, settings.policyId ? { parent: settings.policyId } : {});
    await enqueue(store, 'sample', record, () => store.samples.discard(id));
  });
  return record;
}

/** What every record of accepted work begins with. */
function fresh({ tenant }: TenantStore, { id, warnings, requestId, now }: Required<Submission>) {
  const times = { createdAt: now, startedAt: null, finishedAt: null };
  const outcome = { error: null, warnings: [...warnings], attempts: 0 };
  return { id, tenant, status: 'queued' as const, ...times, ...outcome, requestId };
}

/** Queues what was written but, because of a crash in between, never queued. Returns how many there were. */
export async function requeueOrphans(store: Store): Promise<number> {
  let count = 0;
  for (const [name, records] of [
    ['optimize', store.jobs],
    ['sample', store.samples],
  ] as const) {
    const { data } = await (records as typeof store.jobs).list({
      limit: Number.POSITIVE_INFINITY,
      accept: ({ status }) => status === 'queued',
    });
    for (const record of data) {
      if (await store.queues.has(name, record.id)) continue;
      await store.queues.add(name, record);
      count++;
    }
  }
  return count;
}

async function enqueue(
  store: Store,
  name: QueueName,
  record: JobRecord | SampleRecord,
  undo: () => Promise<void>,
): Promise<void> {
  try {
    await store.queues.add(name, record);
  } catch (error) {
    // With Redis away the record may stay an orphan: it is queued when the request is sent again with its key, or at the next start.
    await undo().catch(() => {});
    throw new ProblemError(
      'unavailable',
      `The queue could not be reached (${error instanceof Error ? error.message : error}); nothing was accepted. Try again.`,
    );
  }
}
