import { BlobStoreError, DamagedBlobError } from '../src/storage/blobs.ts';

/** How long storage may be away, milliseconds, before the work that waits for it fails. */
const PATIENCE = 24 * 3_600_000;
/** Milliseconds after which work is tried again that storage did not take. */
export const STORAGE_PAUSE = 3000;

/**
 * Whether work that ended with `error` is to wait until storage takes what it writes, as on a full disk: that is not its fault, and
 * does not use up its tries.
 * @param since RFC 3339; since when it has been waiting
 * @returns what its record is to remember; null when the error is another one, or it has waited for long enough
 */
export function waitForStorage(
  error: unknown,
  since?: string | null,
): { readonly storageAway: string } | null {
  // What is damaged stays so however long it is waited for.
  if (!(error instanceof BlobStoreError) || error instanceof DamagedBlobError) return null;
  const storageAway = since ?? new Date().toISOString();
  return Date.now() - Date.parse(storageAway) > PATIENCE ? null : { storageAway };
}
