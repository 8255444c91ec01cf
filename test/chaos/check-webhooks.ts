import { isDeepStrictEqual } from 'node:util';
import type { Job } from '../../src/contract/schemas/job.ts';
import type { WebhookDelivery } from '../../src/contract/schemas/webhook-endpoint.ts';
import type { MoodyReceiver, Told } from './receiver.ts';

/** Path of the endpoint that is told of everything. */
export const ENDPOINT = '/endpoint';
/** Path of a job's own webhook. */
export const ownPath = (number: number) => `/job/${number}`;

/** A job that has ended, and what may be told of it. */
export interface Expectation {
  readonly path: string;
  readonly job: Job;
  /** Whether a client paused it on its way. */
  readonly wasPaused: boolean;
}

/** Whether each job's end, and that of its samples, was taken everywhere. */
export function isAllTold(receiver: MoodyReceiver, expectations: readonly Expectation[]): boolean {
  return expectations.every((each) => missing(receiver.told, each).length === 0);
}

/**
 * What is wrong with what the receiver was told: every end at least once at each of its targets; one event one `webhook-id`, one
 * signed body; and nothing that did not happen.
 */
export function checkTold(receiver: MoodyReceiver, expectations: readonly Expectation[]): string[] {
  const { told } = receiver;
  const wrong = told
    .filter((each) => each.wrong !== null)
    .map((each) => `${each.id} to ${each.path}: ${each.wrong}`);
  for (const [id, same] of Map.groupBy(told, (each) => each.id)) {
    const bodies = new Set(same.map(({ body }) => body)).size;
    if (bodies !== 1) wrong.push(`${id} came with ${bodies} different bodies`);
  }
  const subjects = new Set(expectations.flatMap(({ job }) => [job.id, job.sampleId]));
  for (const { id, type, subject } of told)
    if (!subjects.has(subject)) wrong.push(`${id} (${type}) is about ${subject}, which nobody queued`);
  return [...wrong, ...expectations.flatMap((each) => checkJob(told, each))];
}

/** What has to come, as `path type subject`. */
function due({ path, job }: Expectation): string[] {
  const ends = [`${path} job.succeeded ${job.id}`, `${ENDPOINT} job.succeeded ${job.id}`];
  return job.sampleId === null ? ends : [...ends, `${ENDPOINT} sample.succeeded ${job.sampleId}`];
}

function missing(told: readonly Told[], expectation: Expectation): string[] {
  const taken = new Set(
    told.filter((each) => each.taken).map(({ path, type, subject }) => `${path} ${type} ${subject}`),
  );
  return due(expectation).filter((each) => !taken.has(each));
}

function checkJob(told: readonly Told[], expectation: Expectation): string[] {
  const { path, job, wasPaused } = expectation;
  const wrong = missing(told, expectation).map((each) => `nobody took ${each}`);
  const own = told.filter(({ subject }) => subject === job.id || subject === job.sampleId);
  for (const [type, events] of Map.groupBy(own, (each) => each.type)) {
    const ids = new Set(events.map(({ id }) => id)).size;
    if (ids !== 1) wrong.push(`${job.id}: ${type} was told as ${ids} events`);
    const isRight =
      ['job.succeeded', 'sample.succeeded'].includes(type) || (type === 'job.paused' && wasPaused);
    if (!isRight) wrong.push(`${job.id}: ${type} was told, and it has succeeded`);
    for (const one of events) {
      if (![path, ENDPOINT].includes(one.path)) wrong.push(`${job.id}: ${type} was told to ${one.path}`);
    }
  }
  const end = own.find(({ type }) => type === 'job.succeeded');
  const data = end && (JSON.parse(end.body) as { data: unknown }).data;
  if (data && !isDeepStrictEqual(data, job)) wrong.push(`${job.id}: its end was told with other data`);
  return wrong;
}

/** The delivery log against what the receiver knows: all have ended well, and none was told what the log does not have. */
export function checkLog(receiver: MoodyReceiver, log: readonly WebhookDelivery[]): string[] {
  const wrong = log
    .filter(({ status }) => status !== 'succeeded')
    .map(({ id, status, type, subjectId }) => `the delivery ${id} (${type} of ${subjectId}) is ${status}`);
  const known = new Set(log.map(({ eventId, url }) => `${eventId} ${url}`));
  for (const { id, path } of receiver.told)
    if (!known.has(`${id} ${receiver.url(path)}`)) wrong.push(`${id} to ${path} is not in the log`);
  return wrong;
}
