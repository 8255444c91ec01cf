import { setTimeout as sleep } from 'node:timers/promises';
import { createParser } from 'eventsource-parser';
import type { SeededRandom } from '../support/seeded-random.ts';

/** A server-sent event of a job. */
export interface StreamedEvent {
  readonly id: string;
  readonly event: string;
  readonly data: string;
}

/** Parses a complete event stream. */
export function parseEvents(text: string): StreamedEvent[] {
  const events: StreamedEvent[] = [];
  createParser({ onEvent: ({ id = '', event = '', data }) => events.push({ id, event, data }) }).feed(text);
  return events;
}

/**
 * Follows a job until its event `done`, as an EventSource does: after a failure it reconnects, to a
 * random API, with the id of the last event.
 * @returns all events in the order of their arrival, and the number of connections
 */
export async function follow(
  urls: readonly string[],
  jobId: string,
  random: SeededRandom,
  signal: AbortSignal,
): Promise<{ readonly events: readonly StreamedEvent[]; readonly connections: number }> {
  const events: StreamedEvent[] = [];
  for (let connections = 0; ; ) {
    signal.throwIfAborted();
    const last = events.at(-1)?.id;
    // `fetch` leaves its listeners on a signal to the garbage collector. A controller for each
    // connection keeps thousands of them off the caller's signal.
    const connection = new AbortController();
    const end = () => connection.abort();
    signal.addEventListener('abort', end);
    try {
      const response = await fetch(`${random.pick(urls)}/v1/jobs/${jobId}/events`, {
        headers: last === undefined ? {} : { 'last-event-id': last },
        signal: connection.signal,
      });
      if (response.status >= 400 && response.status < 500)
        return {
          events: [...events, { id: '', event: 'refused', data: String(response.status) }],
          connections,
        };
      if (response.status === 200 && response.body) {
        connections++;
        const parser = createParser({
          onEvent: ({ id = '', event = '', data }) => events.push({ id, event, data }),
        });
        for await (const text of response.body.pipeThrough(new TextDecoderStream())) parser.feed(text);
      }
    } catch {
      // The connection failed or was lost; the next one continues.
    } finally {
      signal.removeEventListener('abort', end);
    }
    if (events.at(-1)?.event === 'done') return { events, connections };
    await sleep(200);
  }
}
