import { ProblemError } from '../contract/problem.ts';
import { type BlobStore, DamagedBlobError } from '../storage/blobs.ts';

/** The key of a policy's file. */
export const policyFileKey = (id: string) => `policies/${id}.safetensors`;

/** Prefix of the keys of files that workers of one job send each other. */
export const SHARE_PREFIX = 'shares/';

/**
 * Reads the file of an image or a policy.
 * @param file `description` names the file in errors, such as "policy pol_x"; `sha256`
 * (hexadecimal) is compared with the bytes, unless it was not recorded
 * @throws ProblemError `not-found` if the file is not in storage, `damaged` if its bytes have
 * changed
 */
export async function readStoredFile(
  blobs: BlobStore,
  file: { readonly key: string; readonly sha256?: string; readonly description: string },
): Promise<Uint8Array> {
  const bytes = await blobs.get(file.key, { sha256: file.sha256 }).catch((error: unknown) => {
    throw error instanceof DamagedBlobError ? new ProblemError('damaged', error.message) : error;
  });
  if (bytes) return bytes;
  throw new ProblemError(
    'not-found',
    `The file of ${file.description} is not in storage; was FINDERY_DATA changed or cleared?`,
  );
}
