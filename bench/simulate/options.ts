import { parseArgs } from 'node:util';

/** Options of the command line. */
export interface Options {
  readonly workers: number;
  readonly jobs: number;
  readonly tenants: number;
  readonly seed: number;
  /** Jobs in each measurement. */
  readonly window: number;
  /** Real seconds for which idle and busy workers are watched. */
  readonly seconds: number;
  /** Measurements of work at each length of the queue. */
  readonly windows: number;
  /** Whether the workers go on until every job has ended. */
  readonly drain: boolean;
  /** File for the results as JSON; null: none. */
  readonly json: string | null;
}

export const USAGE = `npm run simulate -- [options]

  --workers N   workers, each with a job at a time (default 1000)
  --jobs N      jobs in all (default 100000)
  --tenants N   tenants; one in ten has a long queue, the others have one job each (default 100)
  --seed N      of the arrivals (default 1)
  --window N    jobs in each measurement (default 500)
  --seconds N   for which idle and busy workers are watched (default 10)
  --windows N   measurements of work at each length of the queue (default 4)
  --no-drain    end after the last measurement instead of with the last job
  --json FILE   also write the results as JSON`;

const LIMITS = {
  workers: [1, 100_000],
  jobs: [1, 10_000_000],
  tenants: [1, 100_000],
  seed: [0, 2 ** 32 - 1],
  window: [1, 1_000_000],
  seconds: [1, 3600],
  windows: [1, 1000],
} as const;

/**
 * Parses the command line.
 * @throws RangeError for an unknown option or a value out of range
 */
export function readOptions(args: readonly string[]): Options | 'help' {
  const values = parse(args);
  if (values.help) return 'help';
  const whole = (name: keyof typeof LIMITS) => {
    const [minimum, maximum] = LIMITS[name];
    const value = Number(values[name]);
    if (/^\d+$/.test(values[name]) && value >= minimum && value <= maximum) return value;
    throw new RangeError(
      `--${name} is "${values[name]}"; it takes a whole number from ${minimum} to ${maximum}`,
    );
  };
  return {
    workers: whole('workers'),
    jobs: whole('jobs'),
    tenants: whole('tenants'),
    seed: whole('seed'),
    window: whole('window'),
    seconds: whole('seconds'),
    windows: whole('windows'),
    drain: !values['no-drain'],
    json: values.json ?? null,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        workers: { type: 'string', default: '1000' },
        jobs: { type: 'string', default: '100000' },
        tenants: { type: 'string', default: '100' },
        seed: { type: 'string', default: '1' },
        window: { type: 'string', default: '500' },
        seconds: { type: 'string', default: '10' },
        windows: { type: 'string', default: '4' },
        'no-drain': { type: 'boolean', default: false },
        json: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    throw new RangeError((error as Error).message);
  }
}
