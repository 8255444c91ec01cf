import { mkdir } from 'node:fs/promises';
import type { Logger } from 'pino';
import { LiveCatalog } from '../bundles/catalog.ts';
import { type Config, ownModelFolder, storagePlace } from '../config/config.ts';
import type { BlobStore } from '../storage/blobs.ts';
import { openBlobs } from '../storage/open-blobs.ts';

/** A writer's temporary file that is older than this belongs to nobody any more. */
const HOUR = 3_600_000;

/**
 * What API and workers both stand on: the installed bundles (damaged ones are told in the log) and storage.
 * @throws Error when a models folder is missing or storage can't be written
 */
export async function openResources(
  config: Config,
  logger: Logger,
): Promise<{ catalog: LiveCatalog; blobs: BlobStore }> {
  await mkdir(ownModelFolder(config), { recursive: true });
  const catalog = await LiveCatalog.open(config.modelFolders, ({ name, path, message }) =>
    logger.warn({ bundle: name, path }, `a bundle can't be used: ${message}`),
  );
  const blobs = await openBlobs(storagePlace(config));
  await blobs.check();
  await blobs.removeLeftovers(Date.now() - HOUR);
  return { catalog, blobs };
}
