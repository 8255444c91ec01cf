import { parseArgs } from 'node:util';
import { readConfig } from '../../config/config.ts';
import { restore } from '../../maintenance/backup/restore.ts';
import { withStorage } from '../storage/open.ts';
import { openPlace } from '../storage/place.ts';
import { UsageError } from '../usage-error.ts';

export const summary = 'puts a backup back into an empty Redis and storage';
export const usage = `Usage: findery restore FOLDER|s3://bucket/prefix [--force]

Puts back what findery backup copied. What was not finished is queued again and goes on from its checkpoint. Every blob is checked
against the hash that it had.

--force   also where there is something already: what the backup has too is replaced, the rest stays

REDIS_URL, FINDERY_REDIS_PREFIX, FINDERY_DATA and FINDERY_STORAGE name where it goes; the service is to be stopped.`;

export async function run(args: readonly string[]): Promise<number> {
  const { word, force } = parse(args);
  return withStorage(readConfig(process.env), async ({ store, blobs }) => {
    const restored = await restore(store, blobs, await openPlace(word), { force });
    console.log(
      `Restored ${restored.keys} keys of Redis and ${restored.blobs} blobs; ${restored.queued} jobs and samples wait to go on.`,
    );
    return 0;
  });
}

function parse(args: readonly string[]): { word: string; force: boolean } {
  try {
    const options = { force: { type: 'boolean' } } as const;
    const { positionals, values } = parseArgs({ args: [...args], options, allowPositionals: true });
    if (positionals.length === 1) return { word: positionals[0], force: values.force ?? false };
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  throw new UsageError('restore takes one place: a folder, or s3://bucket/prefix.');
}
