import { randomFillSync } from 'node:crypto';
import { encodeTime } from 'ulid';

/**
 * Prefix of an id: job, policy, sample batch, image, webhook endpoint, webhook delivery, webhook
 * event.
 */
export type IdKind = 'job' | 'pol' | 'smp' | 'img' | 'whe' | 'dlv' | 'evt';

/** Makes an id: its kind and 26 characters that sort by time. */
export function newId(kind: IdKind): string {
  return `${kind}_${newUlid()}`;
}

const DIGITS = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * Two digits for every value of ten bits: joining pairs makes half as many intermediate strings.
 */
const DIGIT_PAIRS = [...DIGITS].flatMap((first) => [...DIGITS].map((second) => first + second));

/**
 * Crockford's base 32, lower case, of the low five bits of each byte. `bytes.length` has to be
 * even.
 */
export function base32Digits(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 2) text += DIGIT_PAIRS[((bytes[i] & 31) << 5) | (bytes[i + 1] & 31)];
  return text;
}

/**
 * Random bytes for 256 ids: a system call for every character, as in `ulid()`, would cost more than
 * the rest.
 */
const randomPool = Buffer.alloc(4096);
let usedBytes = randomPool.length;
let latestTime = { at: -1, text: '' };

/**
 * Makes a ULID in lower case: the time in milliseconds in 10 characters, then 80 random bits in 16.
 */
export function newUlid(now = Date.now()): string {
  if (latestTime.at !== now) latestTime = { at: now, text: encodeTime(now, 10).toLowerCase() };
  if (usedBytes === randomPool.length) {
    randomFillSync(randomPool);
    usedBytes = 0;
  }
  usedBytes += 16;
  return latestTime.text + base32Digits(randomPool.subarray(usedBytes - 16, usedBytes));
}

/**
 * The id of the policy (`pol`) or the samples (`smp`) that a job makes. It follows from the id of
 * the job, so a job that is repeated after a crash overwrites its own unfinished work.
 */
export function derivedId(kind: IdKind, jobId: string): string {
  return `${kind}_${jobId.slice(jobId.indexOf('_') + 1)}`;
}
