import { createHash } from 'node:crypto';
import { digitsOf } from '../contract/ids.ts';
import type { JobRecord, SampleRecord } from '../contract/records.ts';
import type { DeliveryType } from '../contract/schemas/webhook.ts';
import { viewJob, viewSample } from '../contract/views.ts';
import type { LeasedNotice, Notice } from '../records/outbox.ts';
import { readFields } from '../records/record-fields.ts';
import type { Records } from '../records/records.ts';
import { type DeliveryRecord, SECRETS, type SigningSecret, type WebhookStore } from './webhook-store.ts';

/** The records that events are about, and the webhooks that are told of them. */
export interface DispatchContext {
  readonly jobs: Records<JobRecord>;
  readonly samples: Records<SampleRecord>;
  readonly webhooks: WebhookStore;
}

/** Notices that are taken up at a time. */
const BATCH = 20;

/**
 * Empties the outbox: what happened becomes deliveries in their queue. Any process may do it, several at once too, and one that
 * dies on the way loses nothing: ids of deliveries follow from event and receiver, so doing it over changes nothing.
 * @param leaseSeconds after which another process sees to what this one took up and did not finish
 * @returns how many notices were seen to
 * @throws the first error, once the other notices were seen to: what could not be is tried again when its lease is over
 */
export async function emptyOutbox(store: DispatchContext, leaseSeconds: number): Promise<number> {
  let count = 0;
  const errors: unknown[] = [];
  for (;;) {
    const taken = await store.webhooks.outbox.take(BATCH, leaseSeconds);
    for (const leased of taken) {
      try {
        await seeTo(store, leased);
        await leased.finish();
        count++;
      } catch (error) {
        errors.push(error);
      }
    }
    if (taken.length === BATCH) continue;
    if (errors.length > 0) throw errors[0];
    return count;
  }
}

async function seeTo(store: DispatchContext, { notice, fields }: LeasedNotice): Promise<void> {
  if (notice.type === 'deliver') {
    const delivery = await store.webhooks.deliveries.find(notice.id);
    return delivery ? store.webhooks.queueUp(delivery, notice.round) : undefined;
  }
  const { type, event, id, at } = notice;
  const subject = await viewSubject(store, notice, fields);
  if (!subject) return; // deleted meanwhile, and nobody knows what it was
  // Of nobody's but the subject's own tenant.
  const { tenant } = subject;
  const webhooks = store.webhooks.of(tenant);
  const receivers: Receiver[] = (await webhooks.endpoints.list({ limit: Number.POSITIVE_INFINITY })).data
    .filter(({ enabled, events }) => enabled && events.includes(type))
    .map(({ id: endpointId, url }) => ({ endpointId, url }));
  if (subject.job?.webhook?.events.some((asked) => asked === type)) {
    receivers.push({ endpointId: null, url: subject.job.webhook.url, secrets: subject.secrets });
  }
  if (receivers.length === 0) return;
  await webhooks.keepBody(event, JSON.stringify({ type, timestamp: at, data: subject.view }));
  for (const receiver of receivers)
    await createDelivery(webhooks, { tenant, eventId: event, type, subjectId: id, at, receiver });
}

interface Subject {
  readonly tenant: string;
  readonly view: object;
  readonly job: JobRecord | null;
  readonly secrets: readonly SigningSecret[];
}

/** What is told of: as it was when it happened, for it may be another one by now; where that is not known, as it is. */
async function viewSubject(
  store: DispatchContext,
  { type, id }: Exclude<Notice, { type: 'deliver' }>,
  fields: Record<string, string>,
): Promise<Subject | null> {
  if (type.startsWith('job.')) {
    const known = readFields<JobRecord>('job', fields);
    const job = known ?? (await store.jobs.find(id));
    if (!job) return null;
    const hidden = known
      ? (JSON.parse(fields[`_${SECRETS}`] ?? 'null') as SigningSecret[] | null)
      : await store.jobs.hidden<SigningSecret[]>(id, SECRETS);
    return { tenant: job.tenant, view: viewJob(job, null), job, secrets: hidden ?? [] };
  }
  const sample = readFields<SampleRecord>('smp', fields) ?? (await store.samples.find(id));
  return sample && { tenant: sample.tenant, view: viewSample(sample), job: null, secrets: [] };
}

/** Most endpoints that a tenant can have: every event looks at all of them. */
export const MAX_ENDPOINTS = 32;

interface Receiver {
  readonly endpointId: string | null;
  readonly url: string;
  /** Of a job's own webhook; an endpoint has them itself. */
  readonly secrets?: readonly SigningSecret[];
}

/** Writes a delivery and queues it; once more for the same event and receiver, it changes nothing. */
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
    /** Whose subject and receiver are. */
    readonly tenant: string;
    readonly eventId: string;
    readonly type: DeliveryType;
    readonly subjectId: string | null;
    readonly at: string;
    readonly receiver: Receiver;
    /** Of its first round; as many as ever when left out. */
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
  await webhooks.queueUp(record, 1, attempts);
  return id;
}

/** Follows from the event and who is told: sorts by the time of the event, and is the same whoever makes it. */
function deliveryId(eventId: string, { endpointId, url }: Receiver): string {
  const time = eventId.slice('evt_'.length, 'evt_'.length + 10);
  const digest = createHash('sha256')
    .update(`${eventId} ${endpointId ?? url}`)
    .digest();
  return `dlv_${time}${digitsOf(digest.subarray(0, 16))}`;
}
