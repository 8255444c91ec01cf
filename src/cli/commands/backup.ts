import { readConfig } from '../../config/config.ts';
import { backup } from '../../maintenance/backup/backup.ts';
import { verifyBackup } from '../../maintenance/backup/verify.ts';
import { hasAny } from '../../storage/blobs.ts';
import { parseArguments, UsageError } from '../arguments.ts';
import { openPlace, withStorage } from '../storage.ts';

export const summary = 'copies everything a service holds, even while it runs';
export const usage = `Usage: findery backup FOLDER|s3://bucket/prefix
       findery backup --verify FOLDER|s3://bucket/prefix

Copies the records, events and blobs of a service to an empty folder or bucket. The service may run
meanwhile. Unfinished jobs are included with their checkpoints. findery restore puts a backup back.

--verify   read an existing backup and copy nothing: every blob has its SHA-256, and every record
           has its files. Prints what is missing, and exits with 1 if anything is. Needs no service.

REDIS_URL, FINDERY_REDIS_PREFIX, FINDERY_DATA and FINDERY_STORAGE select the service, as for npm start.`;

/**
 * `findery backup`.
 * @returns exit status; 1 when `--verify` found something missing or damaged
 */
export async function run(args: readonly string[]): Promise<number> {
  const { positionals, values } = parseArguments(args, {
    options: { verify: { type: 'boolean' } },
    allowPositionals: true,
  });
  if (positionals.length !== 1)
    throw new UsageError('backup takes one target: a folder, or s3://bucket/prefix.');
  const [place] = positionals;
  if (values.verify) return verify(place);
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

async function verify(place: string): Promise<number> {
  const { problems, ...found } = await verifyBackup(await openPlace(place));
  for (const problem of problems) console.error(`findery: ${problem}.`);
  const { createdAt, keys, blobs, jobs, policies, samples, images } = found;
  console.log(
    `The backup of ${createdAt} has ${jobs} jobs, ${policies} policies, ${samples} samples and ` +
      `${images} images, in ${keys} keys of Redis and ${blobs} blobs; ` +
      `${problems.length || 'no'} parts are missing or damaged.`,
  );
  return problems.length === 0 ? 0 : 1;
}
