import type { StoragePlace } from '../config/storage-place.ts';
import type { BlobStore } from './blobs.ts';
import { FileBlobs } from './file-blobs.ts';

/** Opens the store at `place`. The AWS SDK is loaded only for S3, because it is large. */
export async function openBlobs(place: StoragePlace): Promise<BlobStore> {
  if (place.type === 'file') return new FileBlobs(place.folder);
  const { S3Blobs } = await import('./s3-blobs.ts');
  return new S3Blobs(place);
}
