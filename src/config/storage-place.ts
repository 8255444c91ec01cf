/** An existing S3 bucket, and the start of every key in it. */
export interface S3Place {
  readonly bucket: string;
  /** Without a slash at the end, such as `team/findery`; '' for the whole bucket. */
  readonly prefix: string;
}

/** A place where blobs are stored: a local folder or an S3 bucket. */
export type StoragePlace =
  | { readonly type: 'file'; readonly folder: string }
  | ({ readonly type: 's3' } & S3Place);

const S3 = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/([A-Za-z0-9._/-]*))?$/;

/**
 * Reads `s3://bucket/prefix`.
 * @returns null when `address` has another form, or a prefix with an empty, "." or ".." segment
 */
export function parseS3(address: string): ({ readonly type: 's3' } & S3Place) | null {
  const [, bucket, path = ''] = S3.exec(address) ?? [];
  if (bucket === undefined) return null;
  const prefix = path.replace(/\/+$/, '');
  return prefix.split('/').some((part) => part === '.' || part === '..' || (part === '' && prefix !== ''))
    ? null
    : { type: 's3', bucket, prefix };
}
