import { randomFillSync } from 'node:crypto';
import { encodeTime } from 'ulid';

export type IdKind = 'job' | 'pol' | 'smp' | 'img' | 'whe' | 'dlv' | 'evt';

/** A new id: a prefix that names what it is, and 26 characters that sort by time. */
export function newId(kind: IdKind): string {
  return `${kind}_${newUlid()}`;
}

const DIGITS = '0123456789abcdefghjkmnpqrstvwxyz';

/** Every two characters, by the ten bits that they stand for: half as many texts are made on the way to an id. */
const PAIRS = [...DIGITS].flatMap((first) => [...DIGITS].map((second) => first + second));

/** A character of an id for each byte, of which five bits count; of an even number of bytes. */
export function digitsOf(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 2) text += PAIRS[((bytes[i] & 31) << 5) | (bytes[i + 1] & 31)];
  return text;
}

/** Random bytes that were fetched together: one call of the system for a character, as `ulid()` does it, costs more than the rest of a request's id. */
const pool = Buffer.alloc(4096);
let used = pool.length;
let time = { at: -1, text: '' };

/** A ULID in lower case: the time in milliseconds in 10 characters, then 80 random bits in 16. */
export function newUlid(now = Date.now()): string {
  if (time.at !== now) time = { at: now, text: encodeTime(now, 10).toLowerCase() };
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += 16;
  return time.text + digitsOf(pool.subarray(used - 16, used));
}

/**
 * The id of what a job makes (`pol`: its policy, `smp`: its samples). Derived, so that a job that is done over after
 * a crash writes over its own half-finished work instead of leaving it behind.
 */
export function derivedId(kind: IdKind, jobId: string): string {
  return `${kind}_${jobId.slice(jobId.indexOf('_') + 1)}`;
}
