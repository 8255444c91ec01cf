import type { Redis } from 'ioredis';
import { quantile } from '../../src/numerics/statistics.ts';
import { type Load, type Loaded, load } from './load.ts';
import type { Row } from './report.ts';
import { cpuOf, type Server } from './servers.ts';

/** One of those who are compared: what it is called, and how it is loaded. */
export interface Contender {
  readonly name: string;
  readonly server: Server;
  readonly load: Load;
  /** Before each run, after Redis was emptied. */
  prepare?(): Promise<void>;
}

export interface Run extends Loaded {
  /** Microseconds of processor time that a request took in the server and in Redis. */
  readonly serverCpu: number;
  readonly redisCpu: number;
}

export interface Comparison {
  readonly name: string;
  readonly runs: readonly Run[];
  /** To the bare handler, of the same round. */
  readonly ratios: readonly number[];
}

/**
 * Loads all of them in each round, in another order each time, so that what else the machine does meets all of them; the first round
 * is not counted. Each run begins with an empty Redis and a short append-only file.
 * @param contenders the bare handler first
 */
export async function compare(
  contenders: readonly Contender[],
  rounds: number,
  redis: Redis,
): Promise<Comparison[]> {
  const redisPid = Number(/process_id:(\d+)/.exec(await redis.info('server'))?.[1]);
  const runs: Run[][] = contenders.map(() => []);
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < contenders.length; i++) {
      const which = (round + i) % contenders.length;
      const { server, load: what, prepare } = contenders[which];
      await empty(redis);
      await prepare?.();
      const seconds = round === 0 ? Math.min(2, what.seconds) : what.seconds;
      const took = async () => [await server.cpu(), await cpuOf(redisPid)];
      const before = await took();
      const loaded = await load(server.url, { ...what, seconds });
      const requests = loaded.perSecond * seconds;
      const [serverCpu, redisCpu] = (await took()).map((after, k) => (1000 * (after - before[k])) / requests);
      if (round > 0) runs[which].push({ ...loaded, serverCpu, redisCpu });
    }
  }
  return contenders.map(({ name }, i) => ({
    name,
    runs: runs[i],
    ratios: runs[i].map(({ perSecond }, round) => perSecond / runs[0][round].perSecond),
  }));
}

/** Empties Redis, and waits until its file holds no more than that. */
export async function empty(redis: Redis): Promise<void> {
  const isRewriting = async () =>
    /aof_rewrite_(in_progress|scheduled):1/.test(await redis.info('persistence'));
  while (await isRewriting()) await pause();
  await redis.flushdb();
  // One that Redis began by itself in between may hold what was there before.
  while (!(await isBegun(redis))) await pause();
  do await pause();
  while (await isRewriting());
}

const isBegun = (redis: Redis): Promise<boolean> =>
  redis.bgrewriteaof().then(
    () => true,
    (error: Error) => {
      if (/already in progress/.test(error.message)) return false;
      throw error;
    },
  );

const pause = () => new Promise((resolve) => setTimeout(resolve, 50));

/** Requests a second, what they take, and ratios: medians with the least and the most. */
export function rowsOf(
  what: string,
  comparisons: readonly Comparison[],
  { least, share }: { readonly least: number; readonly share: number },
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
      what: `${what}, ${name}, requests/s (${failed} failed, p99 ${p99} ms; processor ${server} µs, Redis ${inRedis} µs a request)`,
      value: spread(speeds, 0),
      target: i === 0 ? '' : `>= ${least}`,
      met: i === 0 ? null : median(speeds) >= least && failed === 0,
    };
    if (i === 0) return [speed];
    const ratio: Row = {
      what: `the same / ${comparisons[0].name}, of each round`,
      value: spread(ratios, 2),
      target: `>= ${share}`,
      met: median(ratios) >= share,
    };
    return [speed, ratio];
  });
}

/** Median (least to most). */
export function spread(values: readonly number[], digits: number): string {
  const text = (value: number) => value.toFixed(digits);
  return `${text(quantile(values, 0.5))} (${text(Math.min(...values))} to ${text(Math.max(...values))})`;
}
