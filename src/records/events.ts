import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { defineScript } from '../redis/lua-script.ts';

export interface StoredEvent {
  /** Position in the stream; a client that gives it back as `Last-Event-ID` gets what came after. */
  readonly id: string;
  readonly type: string;
  /** JSON. */
  readonly data: string;
}

/**
 * Lua that writes a job's first event, which `accept-script.ts` leaves in its record: a stream takes four kilobytes, and most jobs that wait are
 * followed by nobody. Whatever reads or adds events calls it first.
 */
export const FIRST_EVENT = `
local function say_first(record, stream)
  local unsaid = redis.call('HGET', record, '_unsaid')
  if not unsaid then return end
  local at, data = string.match(unsaid, '^(%d+) (.*)$')
  if redis.call('EXISTS', stream) == 0 then redis.call('XADD', stream, at .. '-0', 'type', 'status', 'data', data) end
  redis.call('HDEL', record, '_unsaid')
end
`;
const sayFirst = defineScript<null>('say-first', `${FIRST_EVENT} say_first(KEYS[1], KEYS[2])`, 2);

/** The position before all events. */
export const BEGINNING = '0-0';

/** At most `count` events of a job after the event `after` (`BEGINNING`: all), oldest first. */
export async function readEvents(
  redis: Redis,
  keys: RedisKeys,
  jobId: string,
  after: string,
  count = 500,
): Promise<StoredEvent[]> {
  const stream = keys.events(jobId);
  const read = () => redis.xrange(stream, `(${after}`, '+', 'COUNT', count);
  const entries = await (after === BEGINNING ? withFirst(redis, keys, jobId, read) : read());
  return entries.map(([id, fields]) => ({ id, type: fields[1], data: fields[3] }));
}

/** The position of a job's latest event; `BEGINNING` when there is none. */
export async function latestPosition(redis: Redis, keys: RedisKeys, jobId: string): Promise<string> {
  const stream = keys.events(jobId);
  const [latest] = await withFirst(redis, keys, jobId, () => redis.xrevrange(stream, '+', '-', 'COUNT', 1));
  return latest ? latest[0] : BEGINNING;
}

/** What is read of a stream; where there is nothing yet, the first event is written and it is read again. */
async function withFirst<T>(
  redis: Redis,
  keys: RedisKeys,
  jobId: string,
  read: () => Promise<T[]>,
): Promise<T[]> {
  const found = await read();
  if (found.length > 0) return found;
  await sayFirst(redis, keys.record(jobId), keys.events(jobId));
  return read();
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
