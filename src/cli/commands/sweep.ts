import { readConfig } from '../../config/config.ts';
import { readLimits } from '../../maintenance/sweep/retention-limits.ts';
import { sweep } from '../../maintenance/sweep/sweep.ts';
import { parseArguments } from '../arguments.ts';
import { withStorage } from '../storage.ts';

export const summary = 'deletes records beyond the retention limits, and orphaned blobs';
export const usage = `Usage: findery sweep [--dry-run]

Deletes ended jobs, samples and policies that exceed the retention limits (FINDERY_KEEP_*, findery
keep), and blobs older than a day that no record refers to. What an unfinished job or sample needs is
never deleted. A running service sweeps every six hours; this command sweeps now.

--dry-run   print what would be deleted, and delete nothing

REDIS_URL, FINDERY_REDIS_PREFIX, FINDERY_DATA, FINDERY_STORAGE and FINDERY_KEEP_* select the service and
its limits, as for npm start.`;

/** `findery sweep`. */
export async function run(args: readonly string[]): Promise<number> {
  const { values } = parseArguments(args, { options: { 'dry-run': { type: 'boolean' } } });
  const isDry = values['dry-run'] ?? false;
  const config = readConfig(process.env);
  return withStorage(config, async ({ store, blobs }) => {
    const swept = await sweep(store, blobs, {
      limitsOf: await readLimits(blobs, config),
      now: Date.now(),
      isDry,
    });
    if (!swept) throw new Error('Another process is sweeping; try again in a minute.');
    const { archived, expired, orphans, notes, warning } = swept;
    for (const { kind, id, reason } of expired) console.log(`${kind} ${id}: ${reason}`);
    for (const { key, bytes, reason } of orphans) console.log(`blob ${key} (${bytes} bytes): ${reason}`);
    if (warning) console.error(`findery: ${warning}`);
    const old = notes.length > 0 ? ` and ${notes.length} old notes of deletions` : '';
    const deletions = `${expired.length} records and ${orphans.length} orphaned blobs${old}`;
    const archivals =
      archived.length > 0
        ? `, and ${isDry ? 'archive' : 'archived'} ${archived.length} records that storage did not have`
        : '';
    console.log(`${isDry ? 'Would delete' : 'Deleted'} ${deletions}${archivals}.`);
    return 0;
  });
}
