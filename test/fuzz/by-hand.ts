import { existsSync, readFileSync } from 'node:fs';
import { maxConnections } from '../../src/api/http-hardening.ts';
import { Chance } from '../chaos/chance.ts';
import { type Arena, type Attack, readOperations, type Scale } from './arena.ts';
import { addresses } from './attacks/addresses.ts';
import { bodies } from './attacks/bodies.ts';
import { framing } from './attacks/framing.ts';
import { mutations } from './attacks/mutations.ts';
import { repeats } from './attacks/repeats.ts';
import { slow } from './attacks/slow.ts';
import type { Tally } from './tally.ts';
import type { Gauge, Target } from './target.ts';

export const ATTACKS: readonly Attack[] = [framing, bodies, addresses, repeats, mutations, slow];

const MIB = 2 ** 20;
/** Bytes that may stay beyond what there was before: the allocator gives pages back late, compiled code and caches of names grow. */
const MOST_HEAP = 24 * MIB;
const MOST_RSS = 96 * MIB;
/** Descriptors beyond those before: connections to Redis, a file that is just read. */
const MOST_FILES = 10;

/** Silent connections that this process may open: what it may have open, less what it needs itself. The API's own limit follows from the same. */
function mostSilent(): number {
  const limits = existsSync('/proc/self/limits') ? readFileSync('/proc/self/limits', 'utf8') : '';
  return Math.max(0, (maxConnections(limits) ?? Number.POSITIVE_INFINITY) - 500);
}

/** Makes all hand-made attacks on a service. */
export async function attackByHand(
  target: Target,
  {
    seed,
    scale,
    tally,
    say,
    stop,
  }: { seed: number; scale: Scale; tally: Tally; say: (line: string) => void; stop: AbortSignal },
): Promise<void> {
  const operations = await readOperations();
  const chance = new Chance(seed);
  const idle = Math.min(scale.idle, mostSilent());
  if (idle < scale.idle) say(`  ulimit -n allows for ${idle} silent connections, not for ${scale.idle}`);
  const things = await target.furnish();
  const arena: Arena = { target, things, tally, chance, operations, say, scale: { ...scale, idle } };
  for (const attack of ATTACKS) {
    if (stop.aborted) return;
    const began = performance.now();
    const [before, failed] = [count(tally), tally.failures.length];
    await attack.run(arena);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    say(
      `  ${attack.name}: ${count(tally) - before} answers, ${tally.failures.length - failed} failures, ${seconds} s`,
    );
  }
}

/**
 * Compares what the API holds with what it held.
 * @param most bytes that may be resident beyond what there was
 */
export function compareGauges(tally: Tally, before: Gauge, after: Gauge, most: number = MOST_RSS): void {
  const compare = (name: string, was: number, is: number, most: number, unit: number) =>
    tally.check(
      is <= was + most,
      'no memory and no file stays',
      name,
      `${(was / unit).toFixed(0)} before, ${(is / unit).toFixed(0)} after; ${(most / unit).toFixed(0)} more are allowed`,
    );
  compare(
    'heap and buffers, MiB',
    before.heapUsed + before.external,
    after.heapUsed + after.external,
    MOST_HEAP,
    MIB,
  );
  compare('resident memory, MiB', before.rss, after.rss, most, MIB);
  compare('open files', before.files, after.files, MOST_FILES, 1);
}

/** A gauge in one line. */
export function describe({ rss, heapUsed, external, files }: Gauge): string {
  const mib = (bytes: number) => `${(bytes / MIB).toFixed(1)} MiB`;
  return `${mib(rss)} resident, ${mib(heapUsed)} heap, ${mib(external)} buffers, ${files} open files`;
}

function count({ statuses }: Tally): number {
  return [...statuses.values()].reduce((sum, each) => sum + each, 0);
}
