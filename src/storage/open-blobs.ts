import type { StoragePlace } from '../config/storage-place.ts';
import type { BlobStore } from './blobs.ts';
import { FileBlobs } from './file-blobs.ts';

/** Opens it. The SDK for S3 is only loaded where it is used. */
export async function openBlobs(place: StoragePlace): Promise<BlobStore> {
  if (place.type === 'file') return new FileBlobs(place.folder);
  const { S3Blobs } = await import('./s3-blobs.ts');
  return new S3Blobs(place);
}
