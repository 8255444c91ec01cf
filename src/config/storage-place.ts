/** Where a store lies: a bucket that is there already, and what its keys start with (`team/findery`; '' for nothing). */
export interface S3Place {
  readonly bucket: string;
  readonly prefix: string;
}

/** Which store blobs lie in. */
export type StoragePlace =
  | { readonly type: 'file'; readonly folder: string }
  | ({ readonly type: 's3' } & S3Place);

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
