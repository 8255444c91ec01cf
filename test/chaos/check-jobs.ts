import type { Job } from '../../src/contract/schemas/job.ts';
import type { StubbornClient } from './client.ts';
import type { StreamedEvent } from './follower.ts';

/** What a request gives when nothing goes wrong. */
export interface Expected {
  /** The file, in Base64. */
  readonly policy: string;
  readonly rewards: readonly number[];
  readonly iterations: readonly string[];
  /** The first image of its samples, in Base64; null: it asked for none. */
  readonly picture: string | null;
}

/** All that has to be the same whatever happens on the way. */
export async function readOutcome(client: StubbornClient, job: Job): Promise<Expected> {
  return {
    policy: await client.policy(job),
    rewards: await client.rewards(job),
    iterations: (await client.events(job)).map(name).filter((event) => event.startsWith('iteration')),
    picture: job.sampleId === null ? null : await client.picture(job.sampleId),
  };
}

/** What is wrong with a job that has ended. */
export async function checkJob(client: StubbornClient, job: Job, should: Expected): Promise<string[]> {
  const { id, status, error } = job;
  if (status !== 'succeeded')
    return [`${id} is ${status} ${error ? `(${error.code}: ${error.detail})` : ''}`];
  const wrong: string[] = [];
  const events = (await client.events(job)).map(name);
  const told = (event: string) => events.filter((each) => each === event).length;
  if (told('status succeeded') !== 1 || told('done succeeded') !== 1 || events.at(-1) !== 'done succeeded')
    wrong.push(`${id} has ended more than once: ${events.join(', ')}`);
  const is = await readOutcome(client, job);
  if (is.iterations.join() !== should.iterations.join()) wrong.push(`${id} told ${is.iterations.join()}`);
  if (is.rewards.join() !== should.rewards.join()) wrong.push(`${id} has other rewards`);
  if (is.policy !== should.policy) wrong.push(`${id} has another policy`);
  if (is.picture !== should.picture) wrong.push(`${id} has another picture`);
  return wrong;
}

/** What is wrong with what a follower got, who came back whenever the stream broke off, and with what comes after any one event. */
export async function checkFeed(
  client: StubbornClient,
  job: Job,
  followed: readonly StreamedEvent[],
  fraction: number,
): Promise<string[]> {
  const whole = await client.events(job);
  const wrong: string[] = [];
  const list = (events: readonly StreamedEvent[]) =>
    events.map((event) => `${event.id} ${name(event)}`).join(', ');
  if (JSON.stringify(followed) !== JSON.stringify(whole))
    wrong.push(`${job.id}: its follower got [${list(followed)}] of [${list(whole)}]`);
  const from = Math.floor(fraction * (whole.length - 1));
  const rest = await client.events(job, whole[from].id);
  if (JSON.stringify(rest) !== JSON.stringify(whole.slice(from + 1)))
    wrong.push(`${job.id}: after ${whole[from].id} came [${list(rest)}] of [${list(whole)}]`);
  return wrong;
}

/** `iteration 3`, `status running`, `done succeeded`. */
function name({ event, data }: StreamedEvent): string {
  const { iteration, status } = JSON.parse(data) as { iteration?: number; status?: string };
  return `${event} ${iteration ?? status}`;
}
