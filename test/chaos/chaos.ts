import { setTimeout as sleep } from 'node:timers/promises';
import { SeededRandom } from '../support/seeded-random.ts';
import { checkBackup, type KnownJob } from './check-backup.ts';
import { checkFeed, checkJob, readOutcome } from './check-jobs.ts';
import {
  checkDeliveries,
  checkDeliveryLog,
  ENDPOINT_PATH,
  type Expectation,
  isEverythingDelivered,
  jobWebhookPath,
} from './check-webhooks.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { follow } from './event-follower.ts';
import { FAULTS, type Fault } from './faults.ts';
import { REQUESTS, requestOf } from './requests.ts';
import { RetryingClient } from './retrying-client.ts';
import { jobProgress, waitWhileChanging } from './wait-while-changing.ts';

/**
 * Time that three in four faults wait for the service to recover from the last one. The others do
 * not wait.
 */
const RECOVERY_TIMEOUT_MS = 20_000;
/**
 * How often the receiver of webhooks refuses an event, in a run of less than 10 rounds and in a
 * longer one.
 */
const MAX_REFUSALS = { short: 2, long: 4 } as const;

/** What happened during a run, and what is wrong after it. */
export interface ChaosResult {
  /** Violations of the guarantees; none if all is well. */
  readonly problems: readonly string[];
  /** Number of faults by name. */
  readonly faults: Readonly<Record<string, number>>;
  /** Backups that were restored and compared, and those that a fault ended. */
  readonly backups: { readonly restored: number; readonly failed: number };
  /** Restarts of APIs and workers. */
  readonly restarts: number;
  /** How often workers began or continued a job. */
  readonly attempts: number;
  /** Requests to the receiver of webhooks by its behavior. */
  readonly receiverBehaviors: Readonly<Record<string, number>>;
  /** Distinct events that the receiver got. */
  readonly deliveredEvents: number;
  /** Connections of the followers of event streams; one for each job if none had been lost. */
  readonly connections: number;
}

/** A job that the service accepted. */
interface TrackedJob {
  readonly id: string;
  readonly number: number;
  /** The events that its follower gets. */
  readonly followed: ReturnType<typeof follow>;
  wasPaused: boolean;
}

/**
 * Runs jobs on a cluster while faults happen, and checks that the faults left no trace.
 * @param rounds number of faults
 * @param seed selects the faults, their order and their times
 */
export async function runChaos({
  rounds,
  jobs,
  seed,
  log,
  only = '',
  stop = new AbortController().signal,
}: {
  readonly rounds: number;
  readonly jobs: number;
  readonly seed: number;
  readonly log: (line: string) => void;
  /** Only faults with this text in their names happen. */
  readonly only?: string;
  /** Aborts the run; no process stays behind. */
  readonly stop?: AbortSignal;
}): Promise<ChaosResult> {
  const over = new AbortController();
  const cluster = await startCluster({
    seed,
    maxRefusals: rounds < 10 ? MAX_REFUSALS.short : MAX_REFUSALS.long,
    stop,
  });
  const { receiver, backups } = cluster;
  let problems: string[] = ['the run was aborted'];
  try {
    log(`Full disk: ${cluster.disk.description}. Logs: ${cluster.folder}`);
    const client = new RetryingClient(cluster.urls, new SeededRandom(seed ^ 0x5eed), stop);
    const undisturbed = await runUndisturbed(client);
    const expected = undisturbed.map((job) => job.expected);
    await client.createEndpoint(receiver.url(ENDPOINT_PATH), receiver.secret(ENDPOINT_PATH));
    const trackedJobs: TrackedJob[] = [];
    const followers = AbortSignal.any([stop, over.signal]);
    const faultProgress = { fraction: 0 };
    const [faults] = await Promise.all([
      injectFaults(cluster, { rounds, random: new SeededRandom(seed), log, only, stop, faultProgress }),
      submitJobs(
        client,
        cluster,
        { jobs, faultProgress, random: new SeededRandom(seed ^ 0x90b5), signal: followers },
        trackedJobs,
      ),
    ]);
    log(`${trackedJobs.length} jobs were accepted; waiting for them to end`);
    await waitWhileChanging(async () => jobProgress(await client.listJobs()));
    const found = await Promise.all(trackedJobs.map(({ id }) => client.getJob(id)));
    const expectations = trackedJobs.map(({ number, wasPaused }, i) => ({
      path: jobWebhookPath(number),
      job: found[i],
      wasPaused,
    }));
    log(`${receiver.received.length} requests reached the receiver of webhooks; waiting for the rest`);
    await waitWhileChanging(async () => await pendingDeliveries(client, cluster, expectations));
    over.abort(); // a follower that has not seen the end by now never will

    problems = [];
    const followed = await Promise.all(
      trackedJobs.map((each) => each.followed.catch(() => ({ events: [], connections: 0 }))),
    );
    const random = new SeededRandom(seed ^ 0xfeed);
    for (const [i, job] of found.entries()) {
      problems.push(...(await checkJob(client, job, expected[i % expected.length])));
      problems.push(...(await checkFeed(client, job, followed[i].events, random.next())));
      // A repeated request must answer with the same job.
      if ((await client.createJob(i, requestOf(i, receiver))) !== job.id)
        problems.push(`${job.id} was created twice`);
    }
    problems.push(
      ...checkDeliveries(receiver, expectations),
      ...checkDeliveryLog(receiver, await client.listDeliveries()),
    );
    const all = await client.listJobs();
    const distinct = new Set(trackedJobs.map(({ id }) => id)).size;
    if (distinct !== jobs) problems.push(`${jobs} requests gave ${distinct} jobs`);
    if (all.length !== jobs + REQUESTS.length)
      problems.push(`there are ${all.length} jobs, not ${jobs + REQUESTS.length}`);
    const deliveredEvents = new Set(receiver.received.map(({ id }) => id)).size;

    await backups.finish();
    const known = new Map<string, KnownJob>(undisturbed.map((job) => [job.id, job]));
    for (const { id, number } of trackedJobs)
      known.set(id, {
        number,
        request: requestOf(number, receiver),
        expected: expected[number % expected.length],
      });
    await receiver.close(); // restored services send what the backups had not delivered
    for (const backup of backups.taken) {
      log(`restoring a backup of ${backup.listed.length} jobs, of which ${backup.ended.length} had ended`);
      problems.push(...(await checkBackup(backup, known, cluster.environment, stop)));
    }
    problems.push(...backups.problems);
    return {
      problems,
      faults,
      backups: { restored: backups.taken.length, failed: backups.failed },
      restarts: [...cluster.apis, ...cluster.workers].reduce((sum, { starts }) => sum + starts - 1, 0),
      attempts: all.reduce((sum, { attempts }) => sum + attempts, 0),
      receiverBehaviors: receiver.behaviorCounts,
      deliveredEvents,
      connections: followed.reduce((sum, { connections }) => sum + connections, 0),
    };
  } finally {
    over.abort();
    await cluster.close(problems.length > 0);
  }
}

/** Runs each request without faults. */
async function runUndisturbed(client: RetryingClient): Promise<(KnownJob & { readonly id: string })[]> {
  const queued = await Promise.all(
    REQUESTS.map(async (request, i) => {
      const number = 3 * i + 1_000_001;
      return { id: await client.createJob(number, request), number, request };
    }),
  );
  await waitWhileChanging(async () => jobProgress(await client.listJobs()));
  return Promise.all(
    queued.map(async (job) => ({ ...job, expected: await readOutcome(client, await client.getJob(job.id)) })),
  );
}

/** How far the sequence of faults is. */
interface FaultProgress {
  /** Part of the faults that have happened, in [0, 1]. */
  fraction: number;
}

/**
 * Creates the jobs spread over the time of the faults. Each is followed; one in five is paused and
 * resumed.
 */
async function submitJobs(
  client: RetryingClient,
  { urls, receiver }: Cluster,
  {
    jobs,
    faultProgress,
    random,
    signal,
  }: {
    readonly jobs: number;
    readonly faultProgress: FaultProgress;
    readonly random: SeededRandom;
    readonly signal: AbortSignal;
  },
  trackedJobs: TrackedJob[],
): Promise<void> {
  const detours: Promise<void>[] = [];
  for (let number = 0; number < jobs; number++) {
    while (faultProgress.fraction < number / jobs) await sleep(100, undefined, { signal });
    const id = await client.createJob(number, requestOf(number, receiver));
    const followed = follow(urls, id, new SeededRandom(number), signal);
    followed.catch(() => {}); // awaited at the end of the run
    const job: TrackedJob = { id, number, followed, wasPaused: false };
    trackedJobs.push(job);
    if (random.next() < 0.2) {
      const detour = pauseAndResume(client, job, 1000 * random.between(0, 4));
      detour.catch(() => {}); // awaited below
      detours.push(detour);
    }
  }
  await Promise.all(detours);
}

async function pauseAndResume(client: RetryingClient, job: TrackedJob, pause: number): Promise<void> {
  await sleep(pause);
  job.wasPaused = await client.act(job.id, 'pause');
  if (!job.wasPaused) return;
  await sleep(pause);
  await client.act(job.id, 'resume');
}

async function injectFaults(
  cluster: Cluster,
  {
    rounds,
    random,
    log,
    only,
    stop,
    faultProgress,
  }: {
    readonly rounds: number;
    readonly random: SeededRandom;
    readonly log: (line: string) => void;
    readonly only: string;
    readonly stop: AbortSignal;
    readonly faultProgress: FaultProgress;
  },
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const faults = FAULTS.filter(({ name }) => name.includes(only));
  let remaining: Fault[] = [];
  for (let round = 1; round <= rounds; round++) {
    if (random.next() < 0.75) await cluster.waitUntilReady(RECOVERY_TIMEOUT_MS);
    await sleep(1000 * random.between(0.3, 3));
    stop.throwIfAborted();
    // Every kind of fault happens once before any happens again.
    if (remaining.length === 0) remaining = [...faults];
    const { name, run } = random.pick(remaining);
    remaining = remaining.filter((fault) => fault.name !== name);
    log(`${round}/${rounds}: ${name}`);
    counts[name] = (counts[name] ?? 0) + 1;
    await run(cluster, random);
    faultProgress.fraction = round / rounds;
  }
  return counts;
}

/** A fingerprint of the pending deliveries; null: everything is delivered. */
async function pendingDeliveries(
  client: RetryingClient,
  { receiver }: Cluster,
  expectations: readonly Expectation[],
): Promise<string | null> {
  const log = await client.listDeliveries();
  const isOver =
    log.every(({ status }) => status !== 'pending') && isEverythingDelivered(receiver, expectations);
  if (isOver) return null;
  // After many failures the next attempt is minutes away. Until then, the time counts as a change.
  const due = Math.max(
    0,
    ...log.map(({ nextAttemptAt }) => (nextAttemptAt === null ? 0 : Date.parse(nextAttemptAt))),
  );
  const waits = due > Date.now() ? Date.now() : null;
  return JSON.stringify([receiver.received.length, log.map(({ attemptCount }) => attemptCount), waits]);
}
