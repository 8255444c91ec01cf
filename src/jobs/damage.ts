import { DamagedBlobError } from '../storage/blobs.ts';
import { ProblemError } from './problem.ts';

/** For `catch`: that a blob is not what was stored is told to the client, without where it lies; other errors pass. */
export function tellDamage(error: unknown): never {
  if (!(error instanceof DamagedBlobError)) throw error;
  throw new ProblemError('damaged', error.message);
}
