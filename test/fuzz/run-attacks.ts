import { existsSync, readFileSync } from 'node:fs';
import { maxConnections } from '../../src/api/http/hardening.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { type Attack, type AttackContext, readOperations, type Scale } from './attack.ts';
import { bodies } from './attacks/bodies.ts';
import { framing } from './attacks/framing.ts';
import { mutations } from './attacks/mutations.ts';
import { repeats } from './attacks/repeats.ts';
import { slowClients } from './attacks/slow-clients.ts';
import { urls } from './attacks/urls.ts';
import type { Findings } from './findings.ts';
import type { ProcessMemory, Target } from './target.ts';

/** The hand-written attacks in the order in which they run. */
export const ATTACKS: readonly Attack[] = [framing, bodies, urls, repeats, mutations, slowClients];

const MIB = 2 ** 20;
/**
 * Allowed growth in bytes: the allocator returns pages late, and compiled code and name caches
 * grow.
 */
const MAX_HEAP_GROWTH = 24 * MIB;
const MAX_RSS_GROWTH = 96 * MIB;
/** Allowed growth of open descriptors: connections to Redis, a file that is being read. */
const MAX_FILE_GROWTH = 10;

/**
 * Silent connections that this process can open: its limit of descriptors minus those that it
 * needs. The API derives its limit of connections from the same number.
 */
function maxIdleConnections(): number {
  const limits = existsSync('/proc/self/limits') ? readFileSync('/proc/self/limits', 'utf8') : '';
  return Math.max(0, (maxConnections(limits) ?? Number.POSITIVE_INFINITY) - 500);
}

/** Runs all hand-written attacks on a service. */
export async function runAttacks(
  target: Target,
  {
    seed,
    scale,
    findings,
    log,
    stop,
  }: { seed: number; scale: Scale; findings: Findings; log: (line: string) => void; stop: AbortSignal },
): Promise<void> {
  const operations = await readOperations();
  const random = new SeededRandom(seed);
  const idle = Math.min(scale.idle, maxIdleConnections());
  if (idle < scale.idle) log(`  ulimit -n allows ${idle} silent connections, not ${scale.idle}`);
  const resources = await target.createResources();
  const context: AttackContext = {
    target,
    resources,
    findings,
    random,
    operations,
    log,
    scale: { ...scale, idle },
  };
  for (const attack of ATTACKS) {
    if (stop.aborted) return;
    const began = performance.now();
    const [before, failed] = [count(findings), findings.failures.length];
    await attack.run(context);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    log(
      `  ${attack.name}: ${count(findings) - before} responses, ` +
        `${findings.failures.length - failed} failures, ${seconds} s`,
    );
  }
}

/**
 * Checks that memory and open files have not grown beyond the allowance.
 * @param maxRssGrowth allowed growth of resident memory in bytes
 */
export function checkMemoryGrowth(
  findings: Findings,
  before: ProcessMemory,
  after: ProcessMemory,
  maxRssGrowth: number = MAX_RSS_GROWTH,
): void {
  const compare = (name: string, was: number, is: number, growth: number, unit: number) =>
    findings.check(
      is <= was + growth,
      'memory and open files do not grow',
      name,
      `${(was / unit).toFixed(0)} before, ${(is / unit).toFixed(0)} after; ` +
        `${(growth / unit).toFixed(0)} more are allowed`,
    );
  compare(
    'heap and buffers, MiB',
    before.heapUsed + before.external,
    after.heapUsed + after.external,
    MAX_HEAP_GROWTH,
    MIB,
  );
  compare('resident memory, MiB', before.rss, after.rss, maxRssGrowth, MIB);
  compare('open files', before.files, after.files, MAX_FILE_GROWTH, 1);
}

/** The memory of a process in one line. */
export function formatMemory({ rss, heapUsed, external, files }: ProcessMemory): string {
  const mib = (bytes: number) => `${(bytes / MIB).toFixed(1)} MiB`;
  return `${mib(rss)} resident, ${mib(heapUsed)} heap, ${mib(external)} buffers, ${files} open files`;
}

function count({ statuses }: Findings): number {
  return [...statuses.values()].reduce((sum, each) => sum + each, 0);
}
