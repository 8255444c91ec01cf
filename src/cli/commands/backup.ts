import { readConfig } from '../../config/config.ts';
import { backup } from '../../maintenance/backup/backup.ts';
import { hasAny } from '../../storage/blobs.ts';
import { parseArguments, UsageError } from '../arguments.ts';
import { openPlace, withStorage } from '../storage.ts';

export const summary = 'copies everything a service holds, even while it runs';
export const usage = `Usage: findery backup FOLDER|s3://bucket/prefix

Copies the records, events and blobs of a service to an empty folder or bucket. The service may run
meanwhile. Unfinished jobs are included with their checkpoints. findery restore puts a backup back.

REDIS_URL, FINDERY_REDIS_PREFIX, FINDERY_DATA and FINDERY_STORAGE select the service, as for npm start.`;

/** `findery backup`. */
export async function run(args: readonly string[]): Promise<number> {
  const { positionals } = parseArguments(args, { allowPositionals: true });
  if (positionals.length !== 1)
    throw new UsageError('backup takes one target: a folder, or s3://bucket/prefix.');
  const [place] = positionals;
  return withStorage(readConfig(process.env), async ({ store, blobs }) => {
    const target = await openPlace(place);
    await target.check();
    if (await hasAny(target, ''))
      throw new Error(`${place} is not empty; choose an empty folder or another prefix for the backup.`);
    const contents = await backup(store, blobs, target, new Date().toISOString());
    console.log(
      `Copied ${contents.keys} keys of Redis and ${Object.keys(contents.blobs).length} blobs to ${place}.`,
    );
    return 0;
  });
}
