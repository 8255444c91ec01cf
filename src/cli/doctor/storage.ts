import { existsSync } from 'node:fs';
import { stat, statfs } from 'node:fs/promises';
import { readCatalog } from '../../bundles/catalog.ts';
import { type Config, ownModelFolder, storagePlace } from '../../config/config.ts';
import { openBlobs } from '../../storage/open-blobs.ts';
import { formatBytes } from '../table.ts';
import { type Finding, ok, problem, type Result, warning } from './finding.ts';

/** Free space under which a warning is given: some thousand images. */
const LITTLE_SPACE_BYTES = 1e9;

/** Whether blobs can be written, and how much room is left. */
export async function checkStorage(config: Config): Promise<Result> {
  const place = storagePlace(config);
  const name = place.type === 's3' ? `s3://${place.bucket}/${place.prefix}` : place.folder;
  try {
    const blobs = await openBlobs(place);
    await blobs.check();
  } catch (error) {
    return problem(`${name} can't be used: ${(error as Error).message.replace(/\.$/, '')}`);
  }
  if (place.type === 's3') return ok(`${name} takes writes`);
  const { bavail, bsize } = await statfs(place.folder);
  const free = bavail * bsize;
  return free < LITTLE_SPACE_BYTES
    ? warning(`${name} has ${formatBytes(free)} of free space; jobs wait while it has none. Free some`)
    : ok(`${name} takes writes, ${formatBytes(free)} free`);
}

/** Whether other users of the machine may change the data folder. */
export async function checkPermissions({ dataFolder }: Config): Promise<Result> {
  const found = await stat(dataFolder).catch(() => null);
  if (found === null) return ok(`${dataFolder} is made at the first start`);
  const mode = (found.mode & 0o777).toString(8);
  if (found.mode & 0o002)
    return warning(`every user may write to ${dataFolder} (mode ${mode}). chmod o-w ${dataFolder}`);
  const user = process.getuid?.();
  if (user !== undefined && user !== 0 && found.uid !== user)
    return warning(`${dataFolder} belongs to user ${found.uid}, and this is user ${user}. Use one of them`);
  return ok(`${dataFolder} has mode ${mode}`);
}

/** Which models and rewards are installed, and what is wrong with damaged ones. */
export async function checkModels(config: Config): Promise<Finding[]> {
  const folders = config.modelFolders.filter((folder) => existsSync(folder));
  // A service makes its own folder at its first start.
  const absent = config.modelFolders.filter(
    (folder) => !folders.includes(folder) && folder !== ownModelFolder(config),
  );
  const { models, rewards, problems } = await readCatalog(folders);
  const names = models.map(({ name }) => name).join(', ');
  const found =
    models.length === 0
      ? problem('no model is installed. findery models add installs one')
      : ok(`${names}; rewards: ${rewards.map(({ name }) => name).join(', ')}`);
  return [
    { check: 'models', ...found },
    ...absent.map((folder) => ({
      check: 'models',
      ...problem(`${folder} does not exist. Create it, or correct FINDERY_MODELS`),
    })),
    ...problems.map(({ path, message }) => ({ check: 'models', ...warning(`${path}: ${message}`) })),
  ];
}
