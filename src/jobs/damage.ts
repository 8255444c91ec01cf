import { ProblemError } from '../contract/problem.ts';
import { DamagedBlobError } from '../storage/blobs.ts';

/** For `catch`: that a blob is not what was stored is told to the client, without where it lies; other errors pass. */
export function toDamageProblem(error: unknown): never {
  if (!(error instanceof DamagedBlobError)) throw error;
  throw new ProblemError('damaged', error.message);
}
