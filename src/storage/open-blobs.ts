import { chmod } from 'node:fs/promises';
import type { StoragePlace } from '../config/storage-place.ts';
import type { BlobStore } from './blobs.ts';
import { FileBlobs } from './file-blobs.ts';

/** Opens the store at `place`. The AWS SDK is loaded only for S3, because it is large. */
export async function openBlobs(place: StoragePlace): Promise<BlobStore> {
  if (place.type === 'file') {
    // Folders of earlier releases are readable by everybody. One that is not there is created by
    // the first write; one of another user keeps its mode.
    await chmod(place.folder, 0o700).catch(() => {});
    return new FileBlobs(place.folder);
  }
  const { S3Blobs } = await import('./s3-blobs.ts');
  return new S3Blobs(place);
}
