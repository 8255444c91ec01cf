import { setTimeout as sleep } from 'node:timers/promises';
import { ENDED, type JobRequest } from '../../src/jobs/schemas/job.ts';
import { Chance } from './chance.ts';
import { StubbornClient } from './client.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { FAULTS, type Fault } from './faults.ts';

/** The jobs: small ones, of real graphs and rewards. */
const VARIANTS: readonly Pick<JobRequest, 'prompt' | 'seed' | 'optimizer'>[] = [
  { prompt: 'a green dog on the grass', seed: 1, optimizer: { name: 'elites', batchSize: 3 } },
  { prompt: 'a red book and a yellow vase', seed: 2, optimizer: { name: 'kriging', batchSize: 3 } },
  { prompt: 'a blue car', seed: 3, optimizer: { name: 'genetic', batchSize: 3, population: 4 } },
];
const REQUESTS: readonly JobRequest[] = VARIANTS.map((request) => ({
  ...request,
  budget: { images: 15 },
  sampler: { steps: 1, guidanceScale: 1 },
  reportDraws: 2,
}));

/** How long nothing may change before the jobs that have not ended count as lost, milliseconds. */
const PATIENCE = 120_000;

export interface Outcome {
  /** What is not as it should be; empty: all is well. */
  readonly wrong: readonly string[];
  readonly faults: Readonly<Record<string, number>>;
  readonly restarts: number;
  readonly attempts: number;
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
  const cluster = await startCluster((line) => say(`  ${line.split('\n')[0]}`));
  let wrong: string[] = ['it broke off'];
  try {
    say(`Full disk: ${cluster.disk.how}. Logs: ${cluster.folder}`);
    const client = new StubbornClient(cluster.urls, new Chance(seed ^ 0x5eed), stop);
    const expected = await undisturbed(client);
    const ids: string[] = [];
    const [faults] = await Promise.all([
      disturb(cluster, rounds, new Chance(seed), say, stop),
      queueAll(client, jobs, rounds, new Chance(seed ^ 0x90b5), ids),
    ]);
    say(`${ids.length} jobs were accepted; waiting for their ends`);
    wrong = await check(client, ids, expected, jobs);
    const all = await client.listJobs();
    return {
      wrong,
      faults,
      restarts: [...cluster.apis, ...cluster.workers].reduce((sum, { starts }) => sum + starts - 1, 0),
      attempts: all.reduce((sum, { attempts }) => sum + attempts, 0),
    };
  } finally {
    await cluster.close(wrong.length > 0);
  }
}

interface Expected {
  readonly policy: string;
  readonly rewards: readonly number[];
  readonly iterations: readonly string[];
}

/** What each request gives when nothing goes wrong. */
async function undisturbed(client: StubbornClient): Promise<Expected[]> {
  const ids = await Promise.all(REQUESTS.map((request, i) => client.createJob(3 * i + 1_000_001, request)));
  await settle(client);
  const jobs = await Promise.all(ids.map((id) => client.getJob(id)));
  return Promise.all(
    jobs.map(async (job) => ({
      policy: await client.policy(job),
      rewards: await client.rewards(job),
      iterations: (await client.events(job)).filter((event) => event.startsWith('iteration')),
    })),
  );
}

/** Queues the jobs over the time of the faults; now and then one is paused and resumed. */
async function queueAll(
  client: StubbornClient,
  jobs: number,
  rounds: number,
  chance: Chance,
  ids: string[],
): Promise<void> {
  const detours: Promise<void>[] = [];
  for (let i = 0; i < jobs; i++) {
    const id = await client.createJob(i, REQUESTS[i % REQUESTS.length]);
    ids.push(id);
    if (chance.fraction() < 0.2) {
      const taken = detour(client, id, 1000 * chance.between(0, 4));
      taken.catch(() => {}); // it is heard below; until then nobody listens
      detours.push(taken);
    }
    await sleep((1000 * chance.between(0.2, 1.8) * rounds) / jobs);
  }
  await Promise.all(detours);
}

async function detour(client: StubbornClient, id: string, pause: number): Promise<void> {
  await sleep(pause);
  if (!(await client.act(id, 'pause'))) return;
  await sleep(pause);
  await client.act(id, 'resume');
}

async function disturb(
  cluster: Cluster,
  rounds: number,
  chance: Chance,
  say: (line: string) => void,
  stop: AbortSignal,
) {
  const counts: Record<string, number> = {};
  let bag: Fault[] = [];
  for (let round = 1; round <= rounds; round++) {
    await sleep(1000 * chance.between(0.3, 3));
    stop.throwIfAborted();
    // Every kind comes once before any comes again.
    if (bag.length === 0) bag = [...FAULTS];
    const { name, run } = chance.one(bag);
    bag = bag.filter((fault) => fault.name !== name);
    say(`${round}/${rounds}: ${name}`);
    counts[name] = (counts[name] ?? 0) + 1;
    await run(cluster, chance);
  }
  return counts;
}

async function check(
  client: StubbornClient,
  ids: readonly string[],
  expected: readonly Expected[],
  jobs: number,
): Promise<string[]> {
  const wrong: string[] = [];
  if (new Set(ids).size !== jobs) wrong.push(`${jobs} requests gave ${new Set(ids).size} jobs`);
  await settle(client);
  for (const [i, id] of ids.entries()) {
    const job = await client.getJob(id);
    const should = expected[i % expected.length];
    if (job.status !== 'succeeded') {
      wrong.push(`${id} is ${job.status} ${job.error ? `(${job.error.code}: ${job.error.detail})` : ''}`);
      continue;
    }
    const events = await client.events(job);
    const told = (event: string) => events.filter((each) => each === event).length;
    if (told('status succeeded') !== 1 || told('done succeeded') !== 1 || events.at(-1) !== 'done succeeded')
      wrong.push(`${id} has ended more than once: ${events.join(', ')}`);
    const iterations = events.filter((event) => event.startsWith('iteration'));
    if (iterations.join() !== should.iterations.join()) wrong.push(`${id} told ${iterations.join()}`);
    if ((await client.rewards(job)).join() !== should.rewards.join()) wrong.push(`${id} has other rewards`);
    if ((await client.policy(job)) !== should.policy) wrong.push(`${id} has another policy`);
    // Whoever sends a request again after all that gets the same job.
    if ((await client.createJob(i, REQUESTS[i % REQUESTS.length])) !== id) wrong.push(`${id} was made twice`);
  }
  const listed = (await client.listJobs()).length;
  if (listed !== jobs + REQUESTS.length) wrong.push(`there are ${listed} jobs, not ${jobs + REQUESTS.length}`);
  return wrong;
}

/** Resolves when all jobs have ended, or nothing has changed for `PATIENCE`. */
async function settle(client: StubbornClient): Promise<void> {
  let latest = '';
  for (let changedAt = Date.now(); Date.now() - changedAt < PATIENCE; ) {
    const jobs = await client.listJobs();
    if (jobs.every(({ status }) => ENDED.includes(status))) return;
    const now = JSON.stringify(jobs.map(({ status, attempts, progress }) => [status, attempts, progress]));
    if (now !== latest) changedAt = Date.now();
    latest = now;
    await sleep(500);
  }
}
