import { mkdir } from 'node:fs/promises';
import type { Logger } from 'pino';
import { LiveCatalog } from '../bundles/catalog.ts';
import { type Config, ownModelFolder, storagePlace } from '../config/config.ts';
import type { BlobStore } from '../storage/blobs.ts';
import { openBlobs } from '../storage/open-blobs.ts';

/** Age from which a temporary file in storage was left by a process that crashed. */
const MAX_WRITE_MS = 3_600_000;

/**
 * Opens what API and workers need beside Redis: the installed bundles, of which damaged ones are
 * logged, and storage.
 * @throws Error when a models folder is missing or storage cannot be written
 */
export async function openResources(
  config: Config,
  logger: Logger,
): Promise<{ catalog: LiveCatalog; blobs: BlobStore }> {
  // The data folder, which this may create, holds secrets.
  await mkdir(ownModelFolder(config), { recursive: true, mode: 0o700 });
  const catalog = await LiveCatalog.open(config.modelFolders, ({ name, path, message }) =>
    logger.warn({ bundle: name, path }, `a bundle can't be used: ${message}`),
  );
  const blobs = await openBlobs(storagePlace(config));
  await blobs.check();
  await blobs.removeLeftovers(Date.now() - MAX_WRITE_MS);
  return { catalog, blobs };
}
