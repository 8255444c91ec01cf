import { setTimeout as sleep } from 'node:timers/promises';
import { FINAL_STATUSES, type Job } from '../../src/contract/schemas/job.ts';
import { Chance } from './chance.ts';
import { checkFeed, checkJob, type Expected, readOutcome } from './check-jobs.ts';
import { checkLog, checkTold, ENDPOINT, type Expectation, isAllTold, ownPath } from './check-webhooks.ts';
import { StubbornClient } from './client.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { FAULTS, type Fault } from './faults.ts';
import { follow } from './follower.ts';
import { REQUESTS, requestOf } from './requests.ts';

/** How long nothing may change before what has not ended counts as lost, milliseconds: longer than the pause after five attempts. */
const PATIENCE = 180_000;
/** How long a fault waits until the service works again, milliseconds: what is broken already can't be broken. One in four does not. */
const RECOVERY = 20_000;
/** Refusals of one event in a row by the receiver of webhooks, in a short chaos and in a long one. */
const REFUSALS = { short: 2, long: 4 } as const;

export interface Outcome {
  /** What is not as it should be; empty: all is well. */
  readonly wrong: readonly string[];
  readonly faults: Readonly<Record<string, number>>;
  readonly restarts: number;
  readonly attempts: number;
  /** What the receiver of webhooks did with the requests that came to it. */
  readonly moods: Readonly<Record<string, number>>;
  /** Events that were told to it, each to one receiver or two. */
  readonly told: number;
  /** Connections of those who followed the jobs' events: one a job, were none broken off. */
  readonly connections: number;
}

/** A job that was accepted. */
interface Accepted {
  readonly id: string;
  readonly number: number;
  readonly followed: ReturnType<typeof follow>;
  wasPaused: boolean;
}

/** Runs `jobs` jobs while `rounds` faults of the seed happen, and checks that none of them can be seen afterwards. */
export async function runChaos({
  rounds,
  jobs,
  seed,
  say,
  stop = new AbortController().signal,
}: {
  readonly rounds: number;
  readonly jobs: number;
  readonly seed: number;
  readonly say: (line: string) => void;
  /** Breaks it off, and leaves no process behind. */
  readonly stop?: AbortSignal;
}): Promise<Outcome> {
  const over = new AbortController();
  const cluster = await startCluster({
    seed,
    most: rounds < 10 ? REFUSALS.short : REFUSALS.long,
    say: (line) => say(`  ${line.split('\n')[0]}`),
  });
  const { receiver } = cluster;
  let wrong: string[] = ['it broke off'];
  try {
    say(`Full disk: ${cluster.disk.how}. Logs: ${cluster.folder}`);
    const client = new StubbornClient(cluster.urls, new Chance(seed ^ 0x5eed), stop);
    const expected = await undisturbed(client);
    await client.createEndpoint(receiver.url(ENDPOINT), receiver.secret(ENDPOINT));
    const accepted: Accepted[] = [];
    const followers = AbortSignal.any([stop, over.signal]);
    const pace = { fraction: 0 };
    const [faults] = await Promise.all([
      disturb(cluster, { rounds, chance: new Chance(seed), say, stop, pace }),
      queueAll(
        client,
        cluster,
        { jobs, pace, chance: new Chance(seed ^ 0x90b5), signal: followers },
        accepted,
      ),
    ]);
    say(`${accepted.length} jobs were accepted; waiting for their ends`);
    await settle(async () => progress(await client.listJobs()));
    const found = await Promise.all(accepted.map(({ id }) => client.getJob(id)));
    const expectations = accepted.map(({ number, wasPaused }, i) => ({
      path: ownPath(number),
      job: found[i],
      wasPaused,
    }));
    say(`${receiver.told.length} requests came to the receiver of webhooks; waiting until all is told`);
    await settle(async () => await untold(client, cluster, expectations));
    over.abort(); // by now each follower has seen the end, or never will

    wrong = [];
    const followed = await Promise.all(
      accepted.map((each) => each.followed.catch(() => ({ events: [], connections: 0 }))),
    );
    const chance = new Chance(seed ^ 0xfeed);
    for (const [i, job] of found.entries()) {
      wrong.push(...(await checkJob(client, job, expected[i % expected.length])));
      wrong.push(...(await checkFeed(client, job, followed[i].events, chance.fraction())));
      // Whoever sends a request again after all that gets the same job.
      if ((await client.createJob(i, requestOf(i, receiver))) !== job.id)
        wrong.push(`${job.id} was made twice`);
    }
    wrong.push(...checkTold(receiver, expectations), ...checkLog(receiver, await client.listDeliveries()));
    const all = await client.listJobs();
    const distinct = new Set(accepted.map(({ id }) => id)).size;
    if (distinct !== jobs) wrong.push(`${jobs} requests gave ${distinct} jobs`);
    if (all.length !== jobs + REQUESTS.length)
      wrong.push(`there are ${all.length} jobs, not ${jobs + REQUESTS.length}`);
    return {
      wrong,
      faults,
      restarts: [...cluster.apis, ...cluster.workers].reduce((sum, { starts }) => sum + starts - 1, 0),
      attempts: all.reduce((sum, { attempts }) => sum + attempts, 0),
      moods: receiver.moods,
      told: new Set(receiver.told.map(({ id }) => id)).size,
      connections: followed.reduce((sum, { connections }) => sum + connections, 0),
    };
  } finally {
    over.abort();
    await cluster.close(wrong.length > 0);
  }
}

/** What each request gives when nothing goes wrong. */
async function undisturbed(client: StubbornClient): Promise<Expected[]> {
  const ids = await Promise.all(REQUESTS.map((request, i) => client.createJob(3 * i + 1_000_001, request)));
  await settle(async () => progress(await client.listJobs()));
  return Promise.all(ids.map(async (id) => readOutcome(client, await client.getJob(id))));
}

/** How much of the faults has happened, in [0, 1]. */
interface Pace {
  fraction: number;
}

/** Queues the jobs over the time of the faults; each is followed, and now and then one is paused and resumed. */
async function queueAll(
  client: StubbornClient,
  { urls, receiver }: Cluster,
  {
    jobs,
    pace,
    chance,
    signal,
  }: { readonly jobs: number; readonly pace: Pace; readonly chance: Chance; readonly signal: AbortSignal },
  accepted: Accepted[],
): Promise<void> {
  const detours: Promise<void>[] = [];
  for (let number = 0; number < jobs; number++) {
    while (pace.fraction < number / jobs) await sleep(100, undefined, { signal });
    const id = await client.createJob(number, requestOf(number, receiver));
    const followed = follow(urls, id, new Chance(number), signal);
    followed.catch(() => {}); // it is heard at the end; until then nobody listens
    const job: Accepted = { id, number, followed, wasPaused: false };
    accepted.push(job);
    if (chance.fraction() < 0.2) {
      const taken = detour(client, job, 1000 * chance.between(0, 4));
      taken.catch(() => {}); // it is heard below
      detours.push(taken);
    }
  }
  await Promise.all(detours);
}

async function detour(client: StubbornClient, job: Accepted, pause: number): Promise<void> {
  await sleep(pause);
  job.wasPaused = await client.act(job.id, 'pause');
  if (!job.wasPaused) return;
  await sleep(pause);
  await client.act(job.id, 'resume');
}

async function disturb(
  cluster: Cluster,
  {
    rounds,
    chance,
    say,
    stop,
    pace,
  }: {
    readonly rounds: number;
    readonly chance: Chance;
    readonly say: (line: string) => void;
    readonly stop: AbortSignal;
    readonly pace: Pace;
  },
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  let bag: Fault[] = [];
  for (let round = 1; round <= rounds; round++) {
    if (chance.fraction() < 0.75) await cluster.ready(RECOVERY);
    await sleep(1000 * chance.between(0.3, 3));
    stop.throwIfAborted();
    // Every kind comes once before any comes again.
    if (bag.length === 0) bag = [...FAULTS];
    const { name, run } = chance.one(bag);
    bag = bag.filter((fault) => fault.name !== name);
    say(`${round}/${rounds}: ${name}`);
    counts[name] = (counts[name] ?? 0) + 1;
    await run(cluster, chance);
    pace.fraction = round / rounds;
  }
  return counts;
}

/** What changes while jobs go on; null: all have ended. */
function progress(jobs: readonly Job[]): string | null {
  if (jobs.every(({ status }) => FINAL_STATUSES.includes(status))) return null;
  return JSON.stringify(jobs.map(({ status, attempts, progress }) => [status, attempts, progress]));
}

/** What changes while there is something left to tell; null: there is nothing. */
async function untold(
  client: StubbornClient,
  { receiver }: Cluster,
  expectations: readonly Expectation[],
): Promise<string | null> {
  const log = await client.listDeliveries();
  const isOver = log.every(({ status }) => status !== 'pending') && isAllTold(receiver, expectations);
  if (isOver) return null;
  // After many failures the next attempt is minutes away: until then nothing stands still.
  const due = Math.max(
    0,
    ...log.map(({ nextAttemptAt }) => (nextAttemptAt === null ? 0 : Date.parse(nextAttemptAt))),
  );
  const waits = due > Date.now() ? Date.now() : null;
  return JSON.stringify([receiver.told.length, log.map(({ attemptCount }) => attemptCount), waits]);
}

/** Resolves when `look` gives null, or nothing has changed for `PATIENCE`. */
async function settle(look: () => Promise<string | null>): Promise<void> {
  let latest = '';
  for (let changedAt = Date.now(); Date.now() - changedAt < PATIENCE; ) {
    const now = await look();
    if (now === null) return;
    if (now !== latest) changedAt = Date.now();
    latest = now;
    await sleep(500);
  }
}
