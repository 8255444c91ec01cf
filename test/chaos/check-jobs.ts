import type { Job } from '../../src/contract/schemas/job.ts';
import type { StreamedEvent } from './event-follower.ts';
import type { RetryingClient } from './retrying-client.ts';

/** The results of a job. They have to be the same with and without faults. */
export interface Expected {
  /** The policy file in Base64. */
  readonly policy: string;
  readonly rewards: readonly number[];
  /** Names of the iteration events, in order. */
  readonly iterations: readonly string[];
  /** The first sampled image in Base64; null: the job requested no samples. */
  readonly picture: string | null;
}

/** Reads the results of a job that has ended. */
export async function readOutcome(client: RetryingClient, job: Job): Promise<Expected> {
  return {
    policy: await client.policy(job),
    rewards: await client.rewards(job),
    iterations: (await client.events(job)).map(name).filter((event) => event.startsWith('iteration')),
    picture: job.sampleId === null ? null : await client.picture(job.sampleId),
  };
}

/**
 * Checks a job that has ended: it succeeded, ended once, and has the expected results.
 * @returns problems; none if all is well
 */
export async function checkJob(client: RetryingClient, job: Job, should: Expected): Promise<string[]> {
  const { id, status, error } = job;
  if (status !== 'succeeded')
    return [`${id} is ${status} ${error ? `(${error.code}: ${error.detail})` : ''}`];
  const problems: string[] = [];
  const events = (await client.events(job)).map(name);
  const count = (event: string) => events.filter((each) => each === event).length;
  if (count('status succeeded') !== 1 || count('done succeeded') !== 1 || events.at(-1) !== 'done succeeded')
    problems.push(`${id} has ended more than once: ${events.join(', ')}`);
  const is = await readOutcome(client, job);
  if (is.iterations.join() !== should.iterations.join())
    problems.push(`${id} has the iterations ${is.iterations.join()}`);
  if (is.rewards.join() !== should.rewards.join()) problems.push(`${id} has other rewards`);
  if (is.policy !== should.policy) problems.push(`${id} has another policy`);
  if (is.picture !== should.picture) problems.push(`${id} has another picture`);
  return problems;
}

/**
 * Checks the event stream of a job: a follower that reconnected after every failure got each event
 * once and in order, and the stream can be resumed after any event.
 * @param fraction selects the event after which the stream is resumed, in [0, 1)
 * @returns problems; none if all is well
 */
export async function checkFeed(
  client: RetryingClient,
  job: Job,
  followed: readonly StreamedEvent[],
  fraction: number,
): Promise<string[]> {
  const whole = await client.events(job);
  const problems: string[] = [];
  const list = (events: readonly StreamedEvent[]) =>
    events.map((event) => `${event.id} ${name(event)}`).join(', ');
  if (JSON.stringify(followed) !== JSON.stringify(whole))
    problems.push(`${job.id}: its follower got [${list(followed)}] of [${list(whole)}]`);
  const from = Math.floor(fraction * (whole.length - 1));
  const rest = await client.events(job, whole[from].id);
  if (JSON.stringify(rest) !== JSON.stringify(whole.slice(from + 1)))
    problems.push(`${job.id}: after ${whole[from].id} came [${list(rest)}] of [${list(whole)}]`);
  return problems;
}

/** `iteration 3`, `status running`, `done succeeded`. */
function name({ event, data }: StreamedEvent): string {
  const { iteration, status } = JSON.parse(data) as { iteration?: number; status?: string };
  return `${event} ${iteration ?? status}`;
}
