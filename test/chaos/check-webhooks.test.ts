import { expect, it } from 'vitest';
import { checkDeliveries, ENDPOINT_PATH, type Expectation, isEverythingDelivered } from './check-webhooks.ts';
import type { ReceivedDelivery } from './unreliable-receiver.ts';

/** The checks of `npm run chaos` must be able to fail. */
const job = { id: 'job_1', sampleId: 'smp_1', status: 'succeeded' };
const expectation: Expectation = { path: '/job/0', job, wasPaused: false };

function delivery(path: string, type: string, more: Partial<ReceivedDelivery> = {}): ReceivedDelivery {
  const subject = type.startsWith('job.') ? 'job_1' : 'smp_1';
  const body = JSON.stringify({ type, data: type.startsWith('job.') ? job : { id: subject } });
  return { path, id: `evt_${type}`, type, subject, body, acknowledged: true, problem: null, ...more };
}
const ALL = [
  delivery('/job/0', 'job.succeeded', { acknowledged: false }),
  delivery('/job/0', 'job.succeeded'),
  delivery(ENDPOINT_PATH, 'job.succeeded'),
  delivery(ENDPOINT_PATH, 'sample.succeeded'),
];
const receiver = (received: ReceivedDelivery[]) => ({ received });
const check = (some: ReceivedDelivery[], wasPaused = false) =>
  checkDeliveries(receiver(some), [{ ...expectation, wasPaused }]).join('; ');

it('finds no problem when everything was delivered, once or more often', () => {
  expect(check(ALL)).toBe('');
  expect(isEverythingDelivered(receiver(ALL), [expectation])).toBe(true);
  expect(check([...ALL, delivery('/job/0', 'job.paused')], true)).toBe('');
});

it.each<[string, ReceivedDelivery[], RegExp]>([
  [
    'an end that was never acknowledged',
    [ALL[0], ...ALL.slice(2)],
    /\/job\/0 job.succeeded job_1 was never acknowledged/,
  ],
  [
    'samples that were not delivered',
    ALL.slice(0, 3),
    /\/endpoint sample.succeeded smp_1 was never acknowledged/,
  ],
  [
    'a second id',
    [...ALL, delivery(ENDPOINT_PATH, 'job.succeeded', { id: 'evt_2' })],
    /delivered as 2 events/,
  ],
  [
    'another body',
    [...ALL, delivery(ENDPOINT_PATH, 'job.succeeded', { body: '{"data":{}}' })],
    /2 different bodies/,
  ],
  [
    'another outcome',
    [...ALL, delivery(ENDPOINT_PATH, 'job.failed')],
    /job.failed was delivered, but the job succeeded/,
  ],
  [
    'a pause that no client requested',
    [...ALL, delivery('/job/0', 'job.paused')],
    /job.paused was delivered/,
  ],
  [
    'a bad signature',
    [...ALL, delivery(ENDPOINT_PATH, 'job.succeeded', { problem: 'No matching signature' })],
    /No matching/,
  ],
  ['the path of another job', [...ALL, delivery('/job/1', 'job.succeeded')], /was delivered to \/job\/1/],
  [
    'an unknown job',
    [...ALL, delivery(ENDPOINT_PATH, 'job.succeeded', { id: 'evt_3', subject: 'job_9' })],
    /no client queued/,
  ],
  [
    'a job as it was before its end',
    ALL.map((each) => ({ ...each, body: each.body.replace('"status":"succeeded"', '"status":"queued"') })),
    /delivered with other data/,
  ],
])('finds %s', (_what, some, words) => {
  expect(check(some)).toMatch(words);
});
