import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { BATCH_IMAGES, Fleet, JOB_IMAGES, type Start } from './fleet.ts';
import type { Options } from './options.ts';
import { stretchTimers } from './stretch-timers.ts';
import { difference, each, fieldOf, readUsage, type Usage, without } from './usage.ts';
import { endlessJobs, makeWorkload, SECONDS_PER_IMAGE, type SimulatedJob } from './workload.ts';

/** Most workers and queued jobs of the reference, and its jobs in each measurement. */
const REFERENCE = { workers: 50, queued: 1000, jobs: 100 } as const;

/** The shortest queue, and the factor between two lengths, about. */
const [SHORTEST_QUEUE, LENGTH_STEP] = [1000, 3];
/** Factor by which the timers of the fleet are slower than real ones. */
const STRETCH = 20;
/** Events that are published to measure one, and how many of them at the same time. */
const [EVENTS, EVENTS_AT_ONCE] = [2000, 50];

/** What a job used while the queue had a length. */
export interface Window {
  readonly queued: number;
  readonly usage: Usage;
  /** What a job of the reference, with its short queue, used right afterwards. */
  readonly reference: Usage;
}

/** What a simulation measured. */
export interface Result {
  /** Of submissions, while the queue becomes longer. */
  readonly submissions: readonly Window[];
  /** Of the work on jobs, from its beginning to its end, while the queue becomes shorter. */
  readonly runs: readonly Window[];
  /** What one worker without work uses in a second. */
  readonly idle: Usage;
  /** The same while a job is evaluated. */
  readonly busy: Usage;
  /** What an iteration of a running job uses: its event, rewards and progress in one change. */
  readonly event: Usage;
  readonly starts: readonly Start[];
  /** Connections to Redis of one worker. */
  readonly connections: number;
}

/**
 * Runs a simulation on an empty Redis. Beside the fleet, a small reference fleet works on a queue
 * that stays short, in alternation: what slows the machine down slows down both.
 */
export async function simulate(options: Options, redisUrl: string, logger: Logger): Promise<Result> {
  const { workers, jobs, window, windows, seconds, drain } = options;
  const quiet = logger.child({}, { level: 'warn' });
  const referenceWorkers = Math.min(REFERENCE.workers, workers);
  const referenceJobs = Math.min(REFERENCE.jobs, window);
  const reference = await Fleet.start(redisUrl, {
    workers: referenceWorkers,
    prefix: 'reference',
    logger: quiet,
  });
  const others = endlessJobs(options.seed);
  const submitOthers = (count: number) =>
    reference.submit(Array.from({ length: count }, () => others.next().value));
  const read = () => readUsage(reference.store.redis);
  const watch = async () => {
    const before = await read();
    await sleep(1000 * seconds);
    return difference(before, await read());
  };
  const idle = await watch();
  await submitOthers(referenceWorkers + Math.min(REFERENCE.queued, jobs));
  const busy = await watch();
  stretchTimers(STRETCH);
  const connectionsBefore = await countConnections(reference);
  const fleet = await Fleet.start(redisUrl, { workers, prefix: 'findery', logger: quiet });
  const connections = ((await countConnections(fleet)) - connectionsBefore) / workers;
  try {
    const lengths = queueLengths(jobs, workers);
    const worked = drain ? jobs : Math.min(jobs, lengths.length * windows * window);
    const expectedSeconds = (worked * JOB_IMAGES * SECONDS_PER_IMAGE) / workers;
    const { backlog, arrivals } = makeWorkload({ ...options, expectedSeconds });
    await fleet.submit(backlog.slice(0, workers));
    let next = workers;
    const background = await watch();
    const measure = async (work: () => Promise<number>): Promise<Usage> => {
      const before = await read();
      const count = await work();
      return each(without(difference(before, await read()), background), count);
    };

    const submissions: Window[] = [];
    const fill = async (length: number) => {
      while (fleet.queued < length && next < backlog.length) {
        const part = backlog.slice(
          next,
          next + Math.min(Math.max(window, Math.ceil(length / 10)), length - fleet.queued),
        );
        next += part.length;
        const queued = fleet.queued + part.length / 2;
        const usage = await measure(() => fleet.submit(part).then(() => part.length));
        const ofReference = await measure(() => submitOthers(referenceJobs).then(() => referenceJobs));
        await runUntil(reference, reference.ended + referenceJobs);
        // The tenants of a shorter queue differ.
        if (queued >= lengths[0] / 2) submissions.push({ queued, usage, reference: ofReference });
        logger.info({ queued: fleet.queued, usage }, 'submitted');
      }
    };
    const runs: Window[] = [];
    const work = async () => {
      const queuedBefore = fleet.queued;
      const run = (one: Fleet, count: number, due: SimulatedJob[]) => async () => {
        const endedBefore = one.ended;
        await runUntil(one, endedBefore + count, due);
        return one.ended - endedBefore;
      };
      const usage = await measure(run(fleet, Math.min(window, jobs - fleet.ended), arrivals));
      const ofReference = await measure(run(reference, referenceJobs, []));
      await submitOthers(referenceJobs);
      const queued = (queuedBefore + fleet.queued) / 2;
      // With an empty queue, workers wait, too.
      if (fleet.queued > 0) runs.push({ queued, usage, reference: ofReference });
      logger.info({ queued, usage, ended: fleet.ended }, 'worked');
    };

    for (const length of lengths) {
      for (let i = 0; i < windows; i++) {
        await fill(length);
        await work();
      }
    }
    const event = await measure(() => publishEvents(fleet));
    while (drain && fleet.ended < jobs) await work();
    const ofWorker = (usage: Usage) => each({ ...usage, wall: 0 }, seconds * referenceWorkers);
    return {
      submissions,
      runs,
      idle: ofWorker(idle),
      busy: ofWorker(busy),
      event,
      starts: fleet.starts,
      connections,
    };
  } finally {
    await Promise.all([fleet.stop(), reference.stop()]);
  }
}

/** Lengths of the queue at which is measured: 1,000, and on in steps of about 3 to all jobs. */
function queueLengths(jobs: number, workers: number): number[] {
  const longest = jobs - workers;
  const steps = Math.max(1, Math.round(Math.log(longest / SHORTEST_QUEUE) / Math.log(LENGTH_STEP)));
  const shortest = Math.min(SHORTEST_QUEUE, Math.ceil(longest / LENGTH_STEP));
  return Array.from({ length: steps + 1 }, (_, i) =>
    Math.round(shortest * (longest / shortest) ** (i / steps)),
  );
}

/** Lets time pass until so many jobs have ended, and submits those that arrive meanwhile. */
async function runUntil(fleet: Fleet, ended: number, arrivals: SimulatedJob[] = []): Promise<void> {
  while (fleet.ended < ended) {
    await fleet.advance(arrivals[0]?.arrivesAt);
    while (arrivals[0] && arrivals[0].arrivesAt <= fleet.now) await fleet.submit(arrivals.splice(0, 1));
  }
}

/** Publishes iterations of one job, many at the same time, as a fleet does. */
async function publishEvents({ store }: Fleet): Promise<number> {
  const [id] = await store.redis.zrange(store.keys.index('job'), '0', '0');
  const { progress } = await store.jobs.get(id);
  const values = Array.from({ length: BATCH_IMAGES }, (_, i) => i / 7);
  const publish = (i: number) => {
    const data = { iteration: i, rewards: values, mean: 0.5, progress };
    const rewards = { offset: 0, iteration: i, values };
    return store.jobs.change(id, { set: { progress }, rewards, events: [{ type: 'iteration', data }] });
  };
  for (let i = 0; i < EVENTS; i += EVENTS_AT_ONCE)
    await Promise.all(Array.from({ length: EVENTS_AT_ONCE }, (_, k) => publish(i + k)));
  return EVENTS;
}

async function countConnections({ store }: Fleet): Promise<number> {
  return fieldOf(await store.redis.info('clients'), 'connected_clients') ?? Number.NaN;
}
