import { newId } from './ids.ts';
import type { Warning } from './schemas/common.ts';
import type { JobSettings } from './schemas/job.ts';
import type { SampleSettings } from './schemas/sample.ts';
import type { JobRecord, SampleRecord, Store } from './store.ts';
import { queueNew } from './waiting.ts';

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

/**
 * Accepts a job: its record is written, then it is queued. Once it is written it is accepted: when it could not be queued,
 * because Redis went away in between, those who look after that do it (`waiting.ts`).
 */
export async function submitJob(
  store: Store,
  settings: JobSettings,
  { id = newId('job'), warnings, requestId, now, digest }: Submission,
): Promise<JobRecord> {
  const record: JobRecord = {
    ...fresh({ id, warnings, requestId, now }),
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
    ...(digest ? { digest } : {}),
  };
  const events = [{ type: 'status', data: { status: 'queued', stage: 'waiting' } }];
  const deadline = settings.deadline === null ? undefined : Date.parse(settings.deadline);
  await store.jobs.create(record, { events, onlyNew: true, queue: true, deadline });
  await queueNew(store, record);
  return record;
}

/** Accepts a batch of samples, in the same way. */
export async function submitSample(
  store: Store,
  settings: SampleSettings,
  { id = newId('smp'), warnings, requestId, now }: Submission,
): Promise<SampleRecord> {
  const record: SampleRecord = {
    ...fresh({ id, warnings, requestId, now }),
    ...settings,
    images: [],
  };
  const parent = settings.policyId ?? undefined;
  await store.samples.create(record, { parent, onlyNew: true, queue: true });
  await queueNew(store, record);
  return record;
}

/** What every record of accepted work begins with. */
function fresh({ id, warnings, requestId, now }: Submission & { readonly id: string }) {
  const times = { createdAt: now, startedAt: null, finishedAt: null };
  return { id, status: 'queued' as const, ...times, error: null, warnings: [...warnings], attempts: 0, requestId };
}
