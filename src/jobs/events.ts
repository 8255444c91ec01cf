import type { Keys } from './keys.ts';
import type { Redis } from './redis.ts';

export interface StoredEvent {
  /** Position in the stream; a client that gives it back as `Last-Event-ID` gets what came after. */
  readonly id: string;
  readonly type: string;
  /** JSON. */
  readonly data: string;
}

/** At most `count` events of a job after the event `after` (`0`: from the beginning), oldest first. */
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

/** Whether a client's `Last-Event-ID` can be a position (Redis takes 64 bits a number): anything else is answered from the beginning. */
export function isEventId(value: string): boolean {
  return /^\d{1,19}(-\d{1,19})?$/.test(value);
}
