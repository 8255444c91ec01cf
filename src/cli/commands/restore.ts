import { readConfig } from '../../config/config.ts';
import { restore } from '../../maintenance/backup/restore.ts';
import { parseArguments, UsageError } from '../arguments.ts';
import { openPlace, withStorage } from '../storage.ts';

export const summary = 'puts a backup back into an empty Redis and storage';
export const usage = `Usage: findery restore FOLDER|s3://bucket/prefix [--force]

Restores a backup of findery backup. Unfinished jobs are queued again and continue from their
checkpoints. Every blob is verified against its hash. Stop the service first.

--force   restore even if Redis or storage is not empty: what the backup holds is replaced,
          everything else stays

REDIS_URL, FINDERY_REDIS_PREFIX, FINDERY_DATA and FINDERY_STORAGE select the service, as for npm start.`;

/** `findery restore`. */
export async function run(args: readonly string[]): Promise<number> {
  const { positionals, values } = parseArguments(args, {
    options: { force: { type: 'boolean' } },
    allowPositionals: true,
  });
  if (positionals.length !== 1)
    throw new UsageError('restore takes one source: a folder, or s3://bucket/prefix.');
  const [place] = positionals;
  return withStorage(readConfig(process.env), async ({ store, blobs }) => {
    const restored = await restore(store, blobs, await openPlace(place), { force: values.force ?? false });
    console.log(
      `Restored ${restored.keys} keys of Redis and ${restored.blobs} blobs; ` +
        `${restored.queued} unfinished jobs and samples are queued.`,
    );
    for (const id of restored.reopened)
      console.error(`findery: ${id} had ended, but the backup lacks its results; it is queued again.`);
    return 0;
  });
}
