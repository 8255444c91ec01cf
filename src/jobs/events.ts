import type { Keys } from './keys.ts';
import type { Redis } from './redis.ts';

export interface StoredEvent {
  /** Position in the stream; a client that gives it back as `Last-Event-ID` gets what came after. */
  readonly id: string;
  readonly type: string;
  /** JSON. */
  readonly data: string;
}

/** The position before all events. */
export const BEGINNING = '0-0';

/** At most `count` events of a job after the event `after` (`BEGINNING`: all), oldest first. */
export async function readEvents(
  redis: Redis,
  keys: Keys,
  jobId: string,
  after: string,
  count = 500,
): Promise<StoredEvent[]> {
  const entries = await redis.xrange(keys.events(jobId), `(${after}`, '+', 'COUNT', count);
  return entries.map(([id, fields]) => ({ id, type: fields[1], data: fields[3] }));
}

/** The position of a job's latest event; `BEGINNING` when there is none. */
export async function latestPosition(redis: Redis, keys: Keys, jobId: string): Promise<string> {
  const [latest] = await redis.xrevrange(keys.events(jobId), '+', '-', 'COUNT', 1);
  return latest ? latest[0] : BEGINNING;
}

/** A client's `Last-Event-ID` as a position; what can be none (Redis takes 64 bits a number) is the beginning. */
export function parsePosition(text: string): string {
  const [, milliseconds, sequence = '0'] = /^(\d{1,19})(?:-(\d{1,19}))?$/.exec(text) ?? [];
  return milliseconds === undefined ? BEGINNING : `${BigInt(milliseconds)}-${BigInt(sequence)}`;
}

/** Negative when position `a` comes before `b`, 0 when they are the same. */
export function comparePositions(a: string, b: string): number {
  const [firstOfA, secondOfA] = a.split('-');
  const [firstOfB, secondOfB] = b.split('-');
  return compareDigits(firstOfA, firstOfB) || compareDigits(secondOfA, secondOfB);
}

/** Whole numbers without leading zeros, longer than a double can hold. */
function compareDigits(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
