import { resolve } from 'node:path';
import { parseS3 } from '../../config/storage-place.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import { openBlobs } from '../../storage/open-blobs.ts';
import { UsageError } from '../usage-error.ts';

/** The store that a word of the command line names: a folder, or s3://bucket/prefix. */
export async function openPlace(word: string): Promise<BlobStore> {
  const s3 = parseS3(word);
  if (s3) return openBlobs(s3);
  if (/^[a-z0-9]+:\/\//i.test(word))
    throw new UsageError(`"${word}" is neither a folder nor s3://bucket/prefix.`);
  return openBlobs({ type: 'file', folder: resolve(word) });
}
