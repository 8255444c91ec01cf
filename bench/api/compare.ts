import type { Redis } from 'ioredis';
import { quantile } from '../../src/numerics/statistics.ts';
import { type Load, type LoadResult, load } from './load.ts';
import type { Row } from './report.ts';
import { cpuOf, type Server } from './servers.ts';

/** A server in a comparison, and its load. */
export interface Competitor {
  readonly name: string;
  readonly server: Server;
  readonly load: Load;
  /** Runs before each run, after Redis was emptied. */
  prepare?(): Promise<void>;
}

/** One run of a competitor. */
export interface Run extends LoadResult {
  /** Processor time in microseconds that a request took, in the server and in Redis. */
  readonly serverCpu: number;
  readonly redisCpu: number;
}

/** All runs of a competitor. */
export interface Comparison {
  readonly name: string;
  readonly runs: readonly Run[];
  /** Throughput divided by that of the bare server in the same round. */
  readonly ratios: readonly number[];
}

/**
 * Loads every competitor once a round. The order changes from round to round, so that other
 * programs on the machine disturb all of them alike. A round before the first one warms up and is
 * not counted. Each run begins with an empty Redis and a short append-only file.
 * @param competitors the bare server first
 * @param rounds number of rounds that count
 */
export async function compare(
  competitors: readonly Competitor[],
  rounds: number,
  redis: Redis,
): Promise<Comparison[]> {
  const redisPid = Number(/process_id:(\d+)/.exec(await redis.info('server'))?.[1]);
  const runs: Run[][] = competitors.map(() => []);
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < competitors.length; i++) {
      const which = (round + i) % competitors.length;
      const { server, load: settings, prepare } = competitors[which];
      await emptyRedis(redis);
      await prepare?.();
      const seconds = round === 0 ? Math.min(2, settings.seconds) : settings.seconds;
      const processorTimes = async () => [await server.cpu(), await cpuOf(redisPid)];
      const before = await processorTimes();
      const loaded = await load(server.url, { ...settings, seconds });
      const requests = loaded.perSecond * seconds;
      const [serverCpu, redisCpu] = (await processorTimes()).map(
        (after, k) => (1000 * (after - before[k])) / requests,
      );
      if (round > 0) runs[which].push({ ...loaded, serverCpu, redisCpu });
    }
  }
  return competitors.map(({ name }, i) => ({
    name,
    runs: runs[i],
    ratios: runs[i].map(({ perSecond }, round) => perSecond / runs[0][round].perSecond),
  }));
}

/** Empties Redis and waits until its append-only file is rewritten. */
export async function emptyRedis(redis: Redis): Promise<void> {
  const isRewriting = async () =>
    /aof_rewrite_(in_progress|scheduled):1/.test(await redis.info('persistence'));
  while (await isRewriting()) await waitBriefly();
  await redis.flushdb();
  // A rewrite that Redis began before the flush would keep the old data, so this one has to be new.
  while (!(await startRewrite(redis))) await waitBriefly();
  do await waitBriefly();
  while (await isRewriting());
}

/** Starts a rewrite of the append-only file. False: one is in progress. */
const startRewrite = (redis: Redis): Promise<boolean> =>
  redis.bgrewriteaof().then(
    () => true,
    (error: Error) => {
      if (/already in progress/.test(error.message)) return false;
      throw error;
    },
  );

const waitBriefly = () => new Promise((resolve) => setTimeout(resolve, 50));

/**
 * Table rows of a comparison: requests a second and ratios, as median (minimum to maximum).
 * @param what description of the requests
 * @param targets.perSecond requests a second that the service has to reach
 * @param targets.ratio ratio to the bare server that it has to reach
 */
export function comparisonRows(
  what: string,
  comparisons: readonly Comparison[],
  targets: { readonly perSecond: number; readonly ratio: number },
): Row[] {
  const median = (values: readonly number[]) => quantile([...values], 0.5);
  return comparisons.flatMap(({ name, runs, ratios }, i) => {
    const speeds = runs.map(({ perSecond }) => perSecond);
    const failed = runs.reduce((sum, run) => sum + run.failed, 0);
    const of = (value: (run: Run) => number) => median(runs.map(value)).toFixed(0);
    const [p99, server, inRedis] = [
      of((run) => run.p99),
      of((run) => run.serverCpu),
      of((run) => run.redisCpu),
    ];
    const speed: Row = {
      what:
        `${what}, ${name}, requests/s (${failed} failed, p99 ${p99} ms; ` +
        `processor ${server} µs, Redis ${inRedis} µs a request)`,
      value: spread(speeds, 0),
      target: i === 0 ? '' : `>= ${targets.perSecond}`,
      met: i === 0 ? null : median(speeds) >= targets.perSecond && failed === 0,
    };
    if (i === 0) return [speed];
    const ratio: Row = {
      what: `the same / ${comparisons[0].name}, ratio of each round`,
      value: spread(ratios, 2),
      target: `>= ${targets.ratio}`,
      met: median(ratios) >= targets.ratio,
    };
    return [speed, ratio];
  });
}

/** Median (minimum to maximum). */
export function spread(values: readonly number[], digits: number): string {
  const text = (value: number) => value.toFixed(digits);
  return `${text(quantile(values, 0.5))} (${text(Math.min(...values))} to ${text(Math.max(...values))})`;
}
