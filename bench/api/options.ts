import { parseArgs } from 'node:util';

/** Parts of the benchmark. */
export const PARTS = ['post', 'get', 'followers', 'queued', 'metrics', 'soak'] as const;
export type Part = (typeof PARTS)[number];

/** Options of the command line. */
export interface Options {
  readonly parts: readonly Part[];
  /** Rounds of a comparison. */
  readonly rounds: number;
  /** Duration of a run. */
  readonly seconds: number;
  readonly connections: number;
  /** Queued jobs during the part `queued`. */
  readonly queued: number;
  readonly followers: number;
  readonly events: number;
  readonly soakMinutes: number;
  /** Requests a second during the soak. */
  readonly soakRate: number;
  /** File for the results as JSON; null: none. */
  readonly json: string | null;
  /** Folder for CPU profiles of the service; null: none. */
  readonly profile: string | null;
}

export const USAGE = `npm run bench:api -- [options]

  --part A,B         run only these of ${PARTS.join(', ')} (default: all but soak)
  --soak MINUTES     run the soak too, for this time
  --soak-rate N      requests a second during the soak (default 200)
  --rounds N         rounds of each comparison (default 5)
  --seconds N        duration of each of its runs (default 4)
  --connections N    concurrent connections of a comparison (default 50)
  --queued N         queued jobs while POST, list and cancel are timed (default 100000)
  --followers N      followers of one job (default 1000)
  --events N         events of that job (default 100)
  --json FILE        also write the results as JSON
  --profile FOLDER   write a CPU profile of the service (node --cpu-prof) for each part`;

/**
 * Parses the command line.
 * @throws RangeError for an unknown option or a value out of range
 */
export function readOptions(args: readonly string[]): Options | 'help' {
  const { values } = parse(args);
  if (values.help) return 'help';
  const whole = (
    name: 'rounds' | 'seconds' | 'connections' | 'queued' | 'followers' | 'events' | 'soak-rate',
    maximum: number,
  ) => {
    const value = Number(values[name]);
    if (/^\d+$/.test(values[name]) && value >= 1 && value <= maximum) return value;
    throw new RangeError(`--${name} is "${values[name]}"; it takes a whole number from 1 to ${maximum}`);
  };
  const soakMinutes = values.soak === undefined ? null : Number(values.soak);
  if (soakMinutes !== null && !(soakMinutes > 0 && soakMinutes <= 10_000))
    throw new RangeError(`--soak is "${values.soak}"; it takes minutes, more than 0 and at most 10000`);
  return {
    parts: partsOf(values.part, soakMinutes !== null),
    rounds: whole('rounds', 1000),
    seconds: whole('seconds', 3600),
    connections: whole('connections', 10_000),
    queued: whole('queued', 10_000_000),
    followers: whole('followers', 100_000),
    events: whole('events', 100_000),
    soakMinutes: soakMinutes ?? 20,
    soakRate: whole('soak-rate', 10_000),
    json: values.json ?? null,
    profile: values.profile ?? null,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        part: { type: 'string', multiple: true },
        soak: { type: 'string' },
        'soak-rate': { type: 'string', default: '200' },
        rounds: { type: 'string', default: '5' },
        seconds: { type: 'string', default: '4' },
        connections: { type: 'string', default: '50' },
        queued: { type: 'string', default: '100000' },
        followers: { type: 'string', default: '1000' },
        events: { type: 'string', default: '100' },
        json: { type: 'string' },
        profile: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new RangeError((error as Error).message);
  }
}

function partsOf(given: readonly string[] | undefined, hasSoak: boolean): Part[] {
  const names = given?.flatMap((value) => value.split(',').map((name) => name.trim()));
  const unknown = names?.filter((name) => !(PARTS as readonly string[]).includes(name)) ?? [];
  if (unknown.length > 0)
    throw new RangeError(`There is no part "${unknown.join('", "')}"; there are ${PARTS.join(', ')}`);
  return PARTS.filter(
    (part) => (part === 'soak' && hasSoak) || (names ? names.includes(part) : part !== 'soak'),
  );
}
