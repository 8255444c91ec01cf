import { readConfig } from '../../config/config.ts';
import { reindex } from '../../maintenance/reindex.ts';
import { parseArguments } from '../arguments.ts';
import { withStorage } from '../storage.ts';

export const summary = 'rebuilds finished jobs, policies, samples and images from storage';
export const usage = `Usage: findery reindex

Rebuilds Redis from storage after Redis lost its data: every finished record comes back under its id
and is answered as before. Records that Redis still has are not changed, so reindex may run at any
time, also beside a running service. Unfinished jobs exist only in Redis and in backups (findery backup).

REDIS_URL, FINDERY_REDIS_PREFIX, FINDERY_DATA and FINDERY_STORAGE select the service, as for npm start.`;

/**
 * `findery reindex`.
 * @returns exit status; 1 when something in storage could not be used, which is printed to standard
 *   error
 */
export async function run(args: readonly string[]): Promise<number> {
  parseArguments(args, {});
  return withStorage(readConfig(process.env), async ({ store, blobs }) => {
    const { jobs, policies, samples, images, removed, known, problems } = await reindex(store, blobs);
    for (const problem of problems) console.error(`findery: ${problem}`);
    console.log(
      `Restored ${jobs} jobs, ${policies} policies, ${samples} samples and ${images} images; ` +
        `${removed} deletions are remembered; ${known} were known already.`,
    );
    return problems.length === 0 ? 0 : 1;
  });
}
