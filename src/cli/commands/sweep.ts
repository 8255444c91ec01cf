import { parseArgs } from 'node:util';
import { readConfig } from '../../config/config.ts';
import { sweep } from '../../maintenance/sweep/sweep.ts';
import { limitsFor } from '../../maintenance/sweep/tenant-limits.ts';
import { withStorage } from '../storage/open.ts';
import { UsageError } from '../usage-error.ts';

export const summary =
  'deletes what is beyond what is kept (FINDERY_KEEP_*, findery keep), and orphaned blobs';
export const usage = `Usage: findery sweep [--dry-run]

Deletes jobs, samples and policies that are beyond the limits, but nothing that a live job or sample needs, and blobs older than a
day that nothing points at. A service does the same every six hours; this does it now.

--dry-run   only say what would be deleted

REDIS_URL, FINDERY_REDIS_PREFIX, FINDERY_DATA, FINDERY_STORAGE and FINDERY_KEEP_* are those of the service.`;

export async function run(args: readonly string[]): Promise<number> {
  const isDry = parse(args);
  const config = readConfig(process.env);
  return withStorage(config, async ({ store, blobs }) => {
    const swept = await sweep(store, blobs, {
      limitsOf: await limitsFor(blobs, config),
      now: Date.now(),
      isDry,
    });
    if (!swept) throw new Error('Another process sweeps just now; try again in a minute.');
    const { archived, expired, orphans, held } = swept;
    for (const { kind, id, reason } of expired) console.log(`${kind} ${id}: ${reason}`);
    for (const { key, bytes, reason } of orphans) console.log(`blob ${key} (${bytes} bytes): ${reason}`);
    if (held) console.error(`findery: ${held}`);
    const would = isDry ? 'Would delete' : 'Deleted';
    console.log(
      `${would} ${expired.length} records and ${orphans.length} orphaned blobs${archived.length > 0 ? `, and ${isDry ? 'keep' : 'kept'} ${archived.length} records that storage did not have` : ''}.`,
    );
    return 0;
  });
}

function parse(args: readonly string[]): boolean {
  try {
    const { values } = parseArgs({ args: [...args], options: { 'dry-run': { type: 'boolean' } } });
    return values['dry-run'] ?? false;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
