import { parseArgs } from 'node:util';
import { readConfig } from '../../config/config.ts';
import { backup } from '../../maintenance/backup/backup.ts';
import { hasAny } from '../../storage/blobs.ts';
import { withStorage } from '../storage/open.ts';
import { openPlace } from '../storage/place.ts';
import { UsageError } from '../usage-error.ts';

export const summary = 'copies all that a service has, also while it runs';
export const usage = `Usage: findery backup FOLDER|s3://bucket/prefix

Copies records, events and blobs of a service, which may run meanwhile, to a folder or bucket that is empty. Jobs that are not
finished are in it with their checkpoints. findery restore puts it back.

REDIS_URL, FINDERY_REDIS_PREFIX, FINDERY_DATA and FINDERY_STORAGE are those of the service.`;

export async function run(args: readonly string[]): Promise<number> {
  const word = parse(args);
  return withStorage(readConfig(process.env), async ({ store, blobs }) => {
    const target = await openPlace(word);
    await target.check();
    if (await hasAny(target, ''))
      throw new Error(`${word} is not empty; a backup goes to a place of its own.`);
    const contents = await backup(store, blobs, target, new Date().toISOString());
    console.log(
      `Copied ${contents.keys} keys of Redis and ${Object.keys(contents.blobs).length} blobs to ${word}.`,
    );
    return 0;
  });
}

function parse(args: readonly string[]): string {
  try {
    const { positionals } = parseArgs({ args: [...args], options: {}, allowPositionals: true });
    if (positionals.length === 1) return positionals[0];
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  throw new UsageError('backup takes one place: a folder, or s3://bucket/prefix.');
}
