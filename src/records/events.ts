import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { defineScript } from '../redis/lua-script.ts';

/** An event of a job as its stream holds it. */
export interface StoredEvent {
  /** Position in the stream. A client that sends it as `Last-Event-ID` gets the events after it. */
  readonly id: string;
  readonly type: string;
  /** JSON. */
  readonly data: string;
}

/** The position before all events. */
export const BEGINNING = '0-0';

/** Events that one call reads, unless it asks for fewer. */
const MAX_EVENTS = 500;

const writeFirstEvent = defineScript<null>(import.meta.url, './lua/write-first-event.lua');

/** Reads at most `count` events of a job after the position `after`, oldest first. */
export async function readEvents(
  redis: Redis,
  keys: RedisKeys,
  jobId: string,
  after: string,
  count = MAX_EVENTS,
): Promise<StoredEvent[]> {
  const stream = keys.events(jobId);
  const read = () => redis.xrange(stream, `(${after}`, '+', 'COUNT', count);
  const entries = await (after === BEGINNING ? readWithFirst(redis, keys, jobId, read) : read());
  return entries.map(([id, fields]) => ({ id, type: fields[1], data: fields[3] }));
}

/** Position of the latest event of a job; `BEGINNING` when it has no events. */
export async function latestPosition(redis: Redis, keys: RedisKeys, jobId: string): Promise<string> {
  const read = () => redis.xrevrange(keys.events(jobId), '+', '-', 'COUNT', 1);
  const [latest] = await readWithFirst(redis, keys, jobId, read);
  return latest ? latest[0] : BEGINNING;
}

/**
 * Reads a stream; when it is empty, writes the deferred first event (`first-event.lua`) and reads
 * again.
 */
async function readWithFirst<T>(
  redis: Redis,
  keys: RedisKeys,
  jobId: string,
  read: () => Promise<T[]>,
): Promise<T[]> {
  const found = await read();
  if (found.length > 0) return found;
  await writeFirstEvent(redis, { keys: { record: keys.record(jobId), stream: keys.events(jobId) } });
  return read();
}

/**
 * The position that a `Last-Event-ID` names; `BEGINNING` for a text that is no position (two 64-bit
 * numbers).
 */
export function parsePosition(text: string): string {
  const [, milliseconds, sequence = '0'] = /^(\d{1,19})(?:-(\d{1,19}))?$/.exec(text) ?? [];
  return milliseconds === undefined ? BEGINNING : `${BigInt(milliseconds)}-${BigInt(sequence)}`;
}

/**
 * Compares positions as `sort` needs it: negative when `a` is before `b`, 0 when they are the same.
 */
export function comparePositions(a: string, b: string): number {
  const [millisecondsOfA, sequenceOfA] = a.split('-');
  const [millisecondsOfB, sequenceOfB] = b.split('-');
  return compareDigits(millisecondsOfA, millisecondsOfB) || compareDigits(sequenceOfA, sequenceOfB);
}

/** Compares whole numbers without leading zeros; they may be larger than a double is exact for. */
function compareDigits(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
