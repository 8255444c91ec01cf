import { quantile } from '../../src/numerics/statistics.ts';
import type { Row } from '../api/report.ts';
import { BATCH_IMAGES, JOB_IMAGES, type Start } from './fleet.ts';
import type { Options } from './options.ts';
import type { Result, Window } from './simulation.ts';
import type { Usage } from './usage.ts';

/** Most that a cost may grow from the shortest to the longest queue. */
const MAX_GROWTH = 0.1;
/** The part of a core of Redis up to which it is loaded in `capacityRows`. */
const LOAD = 0.5;
/** A job of the default budget, on a GPU. */
const TYPICAL_JOB = { images: 150, seconds: 90 } as const;

const median = (values: readonly number[]) => quantile([...values], 0.5);

/** Costs of a job and how they grow with the queue. */
export function costRows(what: string, windows: readonly Window[]): Row[] {
  const lengths = windows.map(({ queued }) => queued);
  const range = `${Math.min(...lengths).toFixed(0)} to ${Math.max(...lengths).toFixed(0)} queued jobs`;
  const costs = [
    { name: 'commands of Redis', cost: ({ usage }: Window) => usage.commands, digits: 1 },
    { name: 'processor time of Redis', cost: perReference('redis'), digits: 0 },
    { name: 'processor time of the process', cost: perReference('process'), digits: 0 },
  ];
  const keys = ['commands', 'redis', 'process'] as const;
  return costs.map(({ name, cost, digits }, i) => {
    const growth = trend(lengths, windows.map(cost));
    const used = median(windows.map(({ usage }) => usage[keys[i]]));
    return {
      what: `${what}, ${name}, growth over ${range}`,
      value: `${used.toFixed(digits)}${i === 0 ? '' : ' µs'} a job, ${(100 * growth).toFixed(1)} %`,
      target: `<= ${100 * MAX_GROWTH} %`,
      met: growth <= MAX_GROWTH,
    };
  });
}

/** A cost divided by that of the reference, which a slower machine raises alike. */
const perReference =
  (key: keyof Usage) =>
  ({ usage, reference }: Window) =>
    usage[key] / reference[key];

/**
 * Growth of y over the range of x, as a part of its median: the Theil-Sen line, the median of the
 * slopes of all pairs, which single outliers do not move.
 */
function trend(x: readonly number[], y: readonly number[]): number {
  const slopes = x.flatMap((xi, i) =>
    x.slice(0, i).flatMap((xj, j) => (xi === xj ? [] : [(y[i] - y[j]) / (xi - xj)])),
  );
  if (slopes.length === 0) return 0;
  return (median(slopes) * (Math.max(...x) - Math.min(...x))) / median(y);
}

/**
 * Whether tenants with one job are served at their turn: at most a job of each tenant begins first.
 * @param starts in the order in which workers began
 */
export function fairnessRows(starts: readonly Start[], { tenants }: Options): Row[] {
  const times = starts.map(({ at }) => at);
  const small = starts.filter(({ job }) => job.tenant.startsWith('small'));
  // Of workers that become free in one tick, none is before another.
  const passed = small.map(({ job, at }) => countBelow(times, at) - countBelow(times, job.arrivesAt));
  const longest = Math.max(0, ...small.map(({ job, at }) => at - job.arrivesAt)).toFixed(0);
  const most = Math.max(0, ...passed);
  return [
    {
      what:
        'jobs of others that begin while the job of a tenant with no other job waits, ' +
        `most of ${small.length} tenants (longest wait ${longest} simulated seconds)`,
      value: String(most),
      target: `<= ${tenants}`,
      met: most <= tenants,
    },
  ];
}

/** How many of the sorted values are below a limit. */
function countBelow(values: readonly number[], limit: number): number {
  const end = values.findIndex((value) => value >= limit);
  return end < 0 ? values.length : end;
}

/** What one core of Redis carries. */
export function capacityRows({ submissions, runs, event, idle, busy, connections }: Result): Row[] {
  const ofJob = (windows: readonly Window[]) => median(windows.map(({ usage }) => usage.redis));
  const submission = ofJob(submissions);
  const run = ofJob(runs);
  const moreEvents = TYPICAL_JOB.images / BATCH_IMAGES - JOB_IMAGES / BATCH_IMAGES;
  const job = submission + run + moreEvents * event.redis;
  const worker = busy.redis + job / TYPICAL_JOB.seconds;
  const row = (what: string, value: string): Row => ({ what, value, target: '', met: null });
  return [
    row('Redis for a submission', `${submission.toFixed(0)} µs`),
    row('Redis for a job of one iteration, from its beginning to its end', `${run.toFixed(0)} µs`),
    row('Redis for one more iteration (progress, rewards, event)', `${event.redis.toFixed(0)} µs`),
    row('Redis for a worker that waits (polls, heartbeat)', `${idle.redis.toFixed(0)} µs a second`),
    row('Redis for a worker that evaluates (lock, heartbeat)', `${busy.redis.toFixed(0)} µs a second`),
    row('connections of a worker', connections.toFixed(1)),
    row(
      `workers on one core of Redis at ${100 * LOAD} %, each with jobs of ` +
        `${TYPICAL_JOB.images} images in ${TYPICAL_JOB.seconds} s`,
      ((1e6 * LOAD) / worker).toFixed(0),
    ),
    row('the same in jobs a second, without the workers', ((1e6 * LOAD) / job).toFixed(0)),
  ];
}
