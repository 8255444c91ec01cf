import { parseArgs } from 'node:util';
import { readConfig } from '../../config/config.ts';
import { reindex } from '../../maintenance/reindex.ts';
import { withStorage } from '../storage/open.ts';
import { UsageError } from '../usage-error.ts';

export const summary = 'rebuilds finished jobs, policies, samples and images from storage';
export const usage = `Usage: findery reindex

When Redis was lost: makes it again of what storage keeps of everything that has ended, under the same ids, with the same answers.
What Redis knows stays as it is, so it may run at any time, also beside a running service. Jobs that were not finished are lost with
Redis unless it was backed up (findery backup).

REDIS_URL, FINDERY_REDIS_PREFIX, FINDERY_DATA and FINDERY_STORAGE are those of the service.`;

/** Status 1 when something in storage could not be used; it is named. */
export async function run(args: readonly string[]): Promise<number> {
  try {
    parseArgs({ args: [...args], options: {} });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  return withStorage(readConfig(process.env), async ({ store, blobs }) => {
    const { jobs, policies, samples, images, removed, known, problems } = await reindex(store, blobs);
    for (const problem of problems) console.error(`findery: ${problem}`);
    console.log(
      `Restored ${jobs} jobs, ${policies} policies, ${samples} samples and ${images} images; ${removed} deletions are remembered; ${known} were known already.`,
    );
    return problems.length === 0 ? 0 : 1;
  });
}
