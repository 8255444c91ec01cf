import { isDeepStrictEqual } from 'node:util';
import type { Job } from '../../src/contract/schemas/job.ts';
import type { WebhookDelivery } from '../../src/contract/schemas/webhook-endpoint.ts';
import type { ReceivedDelivery, UnreliableReceiver } from './unreliable-receiver.ts';

/** Path of the webhook endpoint that receives the events of all jobs. */
export const ENDPOINT_PATH = '/endpoint';
/** Path of the webhook of a job. */
export const jobWebhookPath = (number: number) => `/job/${number}`;

/** What a receiver got. */
type Deliveries = Pick<UnreliableReceiver, 'received'>;

/** A job that has ended, and where its events have to be delivered. */
export interface Expectation {
  /** Path of the job's webhook. */
  readonly path: string;
  readonly job: Pick<Job, 'id' | 'sampleId'>;
  /** Whether a client paused it. */
  readonly wasPaused: boolean;
}

/** Whether the end of every job and of its samples was acknowledged at every target. */
export function isEverythingDelivered(receiver: Deliveries, expectations: readonly Expectation[]): boolean {
  return expectations.every((each) => missing(receiver.received, each).length === 0);
}

/**
 * Checks what the receiver got: every end arrived at each of its targets at least once; an event
 * has one `webhook-id` and one signed body; and no event arrived that did not happen.
 * @returns problems; none if all is well
 */
export function checkDeliveries(receiver: Deliveries, expectations: readonly Expectation[]): string[] {
  const { received } = receiver;
  const problems = received
    .filter((each) => each.problem !== null)
    .map((each) => `${each.id} to ${each.path}: ${each.problem}`);
  for (const [id, same] of Map.groupBy(received, (each) => each.id)) {
    const bodies = new Set(same.map(({ body }) => body)).size;
    if (bodies !== 1) problems.push(`${id} arrived with ${bodies} different bodies`);
  }
  const subjects = new Set(expectations.flatMap(({ job }) => [job.id, job.sampleId]));
  for (const { id, type, subject } of received)
    if (!subjects.has(subject)) problems.push(`${id} (${type}) is about ${subject}, which no client queued`);
  return [...problems, ...expectations.flatMap((each) => checkJob(received, each))];
}

/** The deliveries that have to be acknowledged, as `path type subject`. */
function requiredDeliveries({ path, job }: Expectation): string[] {
  const ends = [`${path} job.succeeded ${job.id}`, `${ENDPOINT_PATH} job.succeeded ${job.id}`];
  return job.sampleId === null ? ends : [...ends, `${ENDPOINT_PATH} sample.succeeded ${job.sampleId}`];
}

function missing(received: readonly ReceivedDelivery[], expectation: Expectation): string[] {
  const acknowledged = new Set(
    received
      .filter((each) => each.acknowledged)
      .map(({ path, type, subject }) => `${path} ${type} ${subject}`),
  );
  return requiredDeliveries(expectation).filter((each) => !acknowledged.has(each));
}

function checkJob(received: readonly ReceivedDelivery[], expectation: Expectation): string[] {
  const { path, job, wasPaused } = expectation;
  const problems = missing(received, expectation).map((each) => `${each} was never acknowledged`);
  const own = received.filter(({ subject }) => subject === job.id || subject === job.sampleId);
  for (const [type, events] of Map.groupBy(own, (each) => each.type)) {
    const ids = new Set(events.map(({ id }) => id)).size;
    if (ids !== 1) problems.push(`${job.id}: ${type} was delivered as ${ids} events`);
    const isRight =
      ['job.succeeded', 'sample.succeeded'].includes(type) || (type === 'job.paused' && wasPaused);
    if (!isRight) problems.push(`${job.id}: ${type} was delivered, but the job succeeded`);
    for (const one of events) {
      if (![path, ENDPOINT_PATH].includes(one.path))
        problems.push(`${job.id}: ${type} was delivered to ${one.path}`);
    }
  }
  const end = own.find(({ type }) => type === 'job.succeeded');
  const data = end && (JSON.parse(end.body) as { data: unknown }).data;
  if (data && !isDeepStrictEqual(data, job))
    problems.push(`${job.id}: its end was delivered with other data`);
  return problems;
}

/**
 * Checks the delivery log of the service: every delivery succeeded, and the log has everything that
 * the receiver got.
 * @returns problems; none if all is well
 */
export function checkDeliveryLog(receiver: UnreliableReceiver, log: readonly WebhookDelivery[]): string[] {
  const problems = log
    .filter(({ status }) => status !== 'succeeded')
    .map(({ id, status, type, subjectId }) => `the delivery ${id} (${type} of ${subjectId}) is ${status}`);
  const known = new Set(log.map(({ eventId, url }) => `${eventId} ${url}`));
  for (const { id, path } of receiver.received)
    if (!known.has(`${id} ${receiver.url(path)}`)) problems.push(`${id} to ${path} is not in the log`);
  return problems;
}
