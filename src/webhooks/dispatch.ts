import { createHash } from 'node:crypto';
import { base32Digits } from '../contract/ids.ts';
import type { JobRecord, SampleRecord } from '../contract/records.ts';
import type { DeliveryType } from '../contract/schemas/webhook.ts';
import { viewJob, viewSample } from '../contract/views.ts';
import type { Notice } from '../records/outbox-notice.ts';
import { decodeInternalField, decodeRecord, type RecordHash } from '../records/record-codec.ts';
import type { Records } from '../records/records.ts';
import type { LeasedNotice } from './outbox.ts';
import { type DeliveryRecord, SECRETS_FIELD, type SigningSecret, type WebhookStore } from './store.ts';

/** The records that events are about, and the store of webhooks. */
export interface DispatchContext {
  readonly jobs: Records<JobRecord>;
  readonly samples: Records<SampleRecord>;
  readonly webhooks: WebhookStore;
}

/** Notices that are leased at a time. */
const BATCH_SIZE = 20;

/**
 * Turns the notices of the outbox into queued deliveries. Several processes may do so at the same
 * time, and a process that dies loses nothing: the id of a delivery is computed from event and
 * receiver, so processing a notice again changes nothing.
 * @param leaseSeconds seconds after which another process may take over an unfinished notice
 * @returns how many notices were processed
 * @throws the first error, after all other notices were processed. A failed notice is retried after
 *   its lease.
 */
export async function drainOutbox(store: DispatchContext, leaseSeconds: number): Promise<number> {
  let count = 0;
  const errors: unknown[] = [];
  for (;;) {
    const batch = await store.webhooks.outbox.lease(BATCH_SIZE, leaseSeconds);
    for (const leased of batch) {
      try {
        await processNotice(store, leased);
        await leased.finish();
        count++;
      } catch (error) {
        errors.push(error);
      }
    }
    if (batch.length === BATCH_SIZE) continue;
    if (errors.length > 0) throw errors[0];
    return count;
  }
}

async function processNotice(store: DispatchContext, { notice, snapshot }: LeasedNotice): Promise<void> {
  if (notice.type === 'deliver') {
    const delivery = await store.webhooks.deliveries.find(notice.id);
    return delivery ? store.webhooks.enqueue(delivery, notice.round) : undefined;
  }
  const { type, event, id, at } = notice;
  const subject = await viewSubject(store, notice, snapshot);
  if (!subject) return; // deleted meanwhile, and its snapshot has expired
  const { tenant } = subject; // only endpoints of this tenant receive the event
  const webhooks = store.webhooks.forTenant(tenant);
  const receivers: Receiver[] = (await webhooks.endpoints.list({ limit: Number.POSITIVE_INFINITY })).data
    .filter(({ enabled, events }) => enabled && events.includes(type))
    .map(({ id: endpointId, url }) => ({ endpointId, url }));
  if (subject.job?.webhook?.events.some((event) => event === type)) {
    receivers.push({ endpointId: null, url: subject.job.webhook.url, secrets: subject.secrets });
  }
  if (receivers.length === 0) return;
  await webhooks.storeBody(event, JSON.stringify({ type, timestamp: at, data: subject.view }));
  for (const receiver of receivers)
    await createDelivery(webhooks, { tenant, eventId: event, type, subjectId: id, at, receiver });
}

/** The job or sample of an event. */
interface Subject {
  readonly tenant: string;
  /** What the event says about it. */
  readonly view: object;
  readonly job: JobRecord | null;
  readonly secrets: readonly SigningSecret[];
}

/** Finds the subject as it was at the event. Without a snapshot it is the current record. */
async function viewSubject(
  store: DispatchContext,
  { type, id }: Exclude<Notice, { type: 'deliver' }>,
  snapshot: RecordHash,
): Promise<Subject | null> {
  if (type.startsWith('job.')) {
    const atEvent = decodeRecord<JobRecord>('job', snapshot)?.record;
    const job = atEvent ?? (await store.jobs.find(id));
    if (!job) return null;
    const secrets = atEvent
      ? decodeInternalField<SigningSecret[]>(snapshot, SECRETS_FIELD)
      : await store.jobs.internalField<SigningSecret[]>(id, SECRETS_FIELD);
    return { tenant: job.tenant, view: viewJob(job, null), job, secrets: secrets ?? [] };
  }
  const sample = decodeRecord<SampleRecord>('smp', snapshot)?.record ?? (await store.samples.find(id));
  return sample && { tenant: sample.tenant, view: viewSample(sample), job: null, secrets: [] };
}

/** Largest number of endpoints of a tenant. Every event reads all of them. */
export const MAX_ENDPOINTS = 32;

/** An endpoint, or the webhook of a job. */
interface Receiver {
  /** null for a job's own webhook. */
  readonly endpointId: string | null;
  readonly url: string;
  /** Secrets of a job's own webhook. An endpoint stores its secrets itself. */
  readonly secrets?: readonly SigningSecret[];
}

/**
 * Writes a delivery and queues it. A second call for the same event and receiver changes nothing.
 * @returns its id
 */
export async function createDelivery(
  webhooks: WebhookStore,
  {
    tenant,
    eventId,
    type,
    subjectId,
    at,
    receiver,
    attempts,
  }: {
    /** The tenant of subject and receiver. */
    readonly tenant: string;
    readonly eventId: string;
    readonly type: DeliveryType;
    /** Id of the job or sample; null for a test call. */
    readonly subjectId: string | null;
    /** Time of the event, RFC 3339. */
    readonly at: string;
    readonly receiver: Receiver;
    /** Attempts of the first round; `MAX_ATTEMPTS` when left out. */
    readonly attempts?: number;
  },
): Promise<string> {
  const id = deliveryId(eventId, receiver);
  const record: DeliveryRecord = {
    id,
    tenant,
    eventId,
    type,
    endpointId: receiver.endpointId,
    subjectId,
    url: receiver.url,
    status: 'pending',
    createdAt: at,
    finishedAt: null,
    nextAttemptAt: at,
    attempts: [],
    attemptCount: 0,
    round: 1,
  };
  await webhooks.addDelivery(record, receiver.secrets);
  await webhooks.enqueue(record, 1, attempts);
  return id;
}

/** Computes the id of a delivery from event and receiver. Ids sort by the time of the event. */
function deliveryId(eventId: string, { endpointId, url }: Receiver): string {
  const time = eventId.slice('evt_'.length, 'evt_'.length + 10);
  const digest = createHash('sha256')
    .update(`${eventId} ${endpointId ?? url}`)
    .digest();
  return `dlv_${time}${base32Digits(digest.subarray(0, 16))}`;
}
