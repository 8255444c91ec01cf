import { parseArgs } from 'node:util';

export const PARTS = ['post', 'get', 'followers', 'queued', 'soak'] as const;
export type Part = (typeof PARTS)[number];

export interface Options {
  readonly parts: readonly Part[];
  /** Pairs of runs, service and bare handler, of a comparison. */
  readonly rounds: number;
  /** Of one run. */
  readonly seconds: number;
  readonly connections: number;
  /** Jobs that wait while `queued` measures. */
  readonly queued: number;
  readonly followers: number;
  readonly events: number;
  readonly soakMinutes: number;
  /** Where the figures go as JSON; null: nowhere. */
  readonly json: string | null;
  /** Folder in which the service leaves a profile of each run of the comparisons; null: none is taken. */
  readonly profile: string | null;
}

export const USAGE = `npm run bench:api -- [options]

  --part A,B         only these, of ${PARTS.join(', ')} (default: all but soak)
  --soak MINUTES     the soak too, for so long
  --rounds N         pairs of runs in each comparison (default 5)
  --seconds N        of each of these runs (default 4)
  --connections N    that a comparison has at a time (default 50)
  --queued N         jobs that wait while it is looked how long POST, list and cancel take (default 100000)
  --followers N      of one job (default 1000)
  --events N         that they are told of (default 100)
  --json FILE        the figures as JSON too
  --profile FOLDER   a profile (node --cpu-prof) of the service, for each part`;

/** The command line, read. Throws `RangeError` with what is accepted. */
export function readOptions(args: readonly string[]): Options | 'help' {
  const { values } = parse(args);
  if (values.help) return 'help';
  const whole = (
    name: 'rounds' | 'seconds' | 'connections' | 'queued' | 'followers' | 'events',
    most: number,
  ) => {
    const value = Number(values[name]);
    if (/^\d+$/.test(values[name]) && value >= 1 && value <= most) return value;
    throw new RangeError(`--${name} is "${values[name]}"; it takes a whole number from 1 to ${most}`);
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
