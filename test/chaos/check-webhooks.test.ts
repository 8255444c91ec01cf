import { expect, it } from 'vitest';
import type { Job } from '../../src/contract/schemas/job.ts';
import { checkTold, ENDPOINT, type Expectation, isAllTold } from './check-webhooks.ts';
import type { MoodyReceiver, Told } from './receiver.ts';

/** What chaos says of deliveries that are not as they should be: it must be able to find them. */
const job = { id: 'job_1', sampleId: 'smp_1', status: 'succeeded' } as unknown as Job;
const expectation: Expectation = { path: '/job/0', job, wasPaused: false };

function told(path: string, type: string, more: Partial<Told> = {}): Told {
  const subject = type.startsWith('job.') ? 'job_1' : 'smp_1';
  const body = JSON.stringify({ type, data: type.startsWith('job.') ? job : { id: subject } });
  return { path, id: `evt_${type}`, type, subject, body, taken: true, wrong: null, ...more };
}
const ALL = [
  told('/job/0', 'job.succeeded', { taken: false }),
  told('/job/0', 'job.succeeded'),
  told(ENDPOINT, 'job.succeeded'),
  told(ENDPOINT, 'sample.succeeded'),
];
const receiver = (some: readonly Told[]) => ({ told: some }) as unknown as MoodyReceiver;
const check = (some: readonly Told[], wasPaused = false) =>
  checkTold(receiver(some), [{ ...expectation, wasPaused }]).join('; ');

it('nothing, where all was told, once or more', () => {
  expect(check(ALL)).toBe('');
  expect(isAllTold(receiver(ALL), [expectation])).toBe(true);
  expect(check([...ALL, told('/job/0', 'job.paused')], true)).toBe('');
});

it.each<[string, readonly Told[], RegExp]>([
  [
    'an end that was tried and never taken',
    [ALL[0], ...ALL.slice(2)],
    /nobody took \/job\/0 job.succeeded job_1/,
  ],
  ['samples that were not told', ALL.slice(0, 3), /nobody took \/endpoint sample.succeeded smp_1/],
  ['a second id', [...ALL, told(ENDPOINT, 'job.succeeded', { id: 'evt_2' })], /told as 2 events/],
  ['another body', [...ALL, told(ENDPOINT, 'job.succeeded', { body: '{"data":{}}' })], /2 different bodies/],
  ['another outcome', [...ALL, told(ENDPOINT, 'job.failed')], /job.failed was told, and it has succeeded/],
  ['a pause that nobody asked for', [...ALL, told('/job/0', 'job.paused')], /job.paused was told/],
  [
    'a bad signature',
    [...ALL, told(ENDPOINT, 'job.succeeded', { wrong: 'No matching signature' })],
    /No matching/,
  ],
  ['another job’s place', [...ALL, told('/job/1', 'job.succeeded')], /was told to \/job\/1/],
  [
    'somebody else’s job',
    [...ALL, told(ENDPOINT, 'job.succeeded', { id: 'evt_3', subject: 'job_9' })],
    /nobody queued/,
  ],
  [
    'a job as it was before its end',
    ALL.map((each) => ({ ...each, body: each.body.replace('"status":"succeeded"', '"status":"queued"') })),
    /told with other data/,
  ],
])('%s', (_what, some, words) => {
  expect(check(some)).toMatch(words);
});
