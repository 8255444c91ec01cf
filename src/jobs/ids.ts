import { ulid } from 'ulid';

export type IdKind = 'job' | 'pol' | 'smp' | 'img' | 'whe' | 'dlv' | 'evt';

/** A new id: a prefix that names what it is, and 26 characters that sort by time. */
export function newId(kind: IdKind): string {
  return `${kind}_${ulid().toLowerCase()}`;
}

/**
 * The id of what a job makes (`pol`: its policy, `smp`: its samples). Derived, so that a job that is done over after
 * a crash writes over its own half-finished work instead of leaving it behind.
 */
export function derivedId(kind: IdKind, jobId: string): string {
  return `${kind}_${jobId.slice(jobId.indexOf('_') + 1)}`;
}
