import type { Redis } from '../../src/redis/connection.ts';

/** What Redis and this process have used; of readings, since they started. */
export interface Usage {
  /** Processor time of Redis' main thread, microseconds. */
  readonly redis: number;
  /** Commands that Redis executed, those of scripts included. */
  readonly commands: number;
  /** Processor time of this process, microseconds. */
  readonly process: number;
  /** Microseconds. */
  readonly wall: number;
}

const NAMES = ['redis', 'commands', 'process', 'wall'] as const;

/** Reads the counters. */
export async function readUsage(redis: Redis): Promise<Usage> {
  const [cpu, stats] = await Promise.all([redis.info('cpu'), redis.info('stats')]);
  const seconds = (name: string) =>
    fieldOf(cpu, `used_cpu_${name}_main_thread`) ?? fieldOf(cpu, `used_cpu_${name}`) ?? Number.NaN;
  const { user, system } = process.cpuUsage();
  return {
    redis: 1e6 * (seconds('user') + seconds('sys')),
    commands: fieldOf(stats, 'total_commands_processed') ?? Number.NaN,
    process: user + system,
    wall: 1000 * performance.now(),
  };
}

/** What was used between two readings. */
export function difference(before: Usage, after: Usage): Usage {
  return combine((name) => after[name] - before[name]);
}

/** What each of `count` used. */
export function each(usage: Usage, count: number): Usage {
  return combine((name) => usage[name] / count);
}

/** `usage` without what `background` uses in the same time; `wall` stays. */
export function without(usage: Usage, background: Usage): Usage {
  const part = usage.wall / background.wall;
  return combine((name) => usage[name] - (name === 'wall' ? 0 : part * background[name]));
}

function combine(of: (name: keyof Usage) => number): Usage {
  return Object.fromEntries(NAMES.map((name) => [name, of(name)])) as unknown as Usage;
}

/** A number of an answer of INFO. */
export function fieldOf(info: string, name: string): number | undefined {
  const text = new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1];
  return text === undefined ? undefined : Number(text);
}
