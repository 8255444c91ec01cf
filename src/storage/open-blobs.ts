import type { BlobStore } from './blobs.ts';
import { FileBlobs } from './file-blobs.ts';
import type { S3Place } from './s3-blobs.ts';

/** Which store blobs lie in. */
export type StoragePlace = { readonly type: 'file'; readonly folder: string } | ({ readonly type: 's3' } & S3Place);

const S3 = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/([A-Za-z0-9._/-]*))?$/;

/** The place that `s3://bucket/prefix` names; null: it is no such address. */
export function parseS3(address: string): ({ readonly type: 's3' } & S3Place) | null {
  const [, bucket, path = ''] = S3.exec(address) ?? [];
  if (bucket === undefined) return null;
  const prefix = path.replace(/\/+$/, '');
  return prefix.split('/').some((part) => part === '.' || part === '..' || (part === '' && prefix !== ''))
    ? null
    : { type: 's3', bucket, prefix };
}

/** Opens it. The SDK for S3 is only loaded where it is used. */
export async function openBlobs(place: StoragePlace): Promise<BlobStore> {
  if (place.type === 'file') return new FileBlobs(place.folder);
  const { S3Blobs } = await import('./s3-blobs.ts');
  return new S3Blobs(place);
}
