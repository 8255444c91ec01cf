import type { BlobStore } from './blobs.ts';

/**
 * Blob that says that the service had API keys. The keys themselves are only in Redis and in
 * backups. A server whose Redis has lost them must not open to everybody on its machine.
 */
export const KEYS_MARKER = 'access/has-keys.json';

/** Remembers that there are keys. @throws BlobStoreError */
export async function rememberKeys(blobs: BlobStore): Promise<void> {
  if (await hadKeys(blobs)) return;
  await blobs.put(KEYS_MARKER, new TextEncoder().encode('{"hasKeys":true}\n'));
}

/** Whether the service ever had keys. @throws BlobStoreError */
export async function hadKeys(blobs: BlobStore): Promise<boolean> {
  return (await blobs.get(KEYS_MARKER)) !== null;
}
