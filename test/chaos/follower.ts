import { setTimeout as sleep } from 'node:timers/promises';
import { createParser } from 'eventsource-parser';
import type { Chance } from './chance.ts';

/** An event of a job's stream as a client reads it. */
export interface StreamedEvent {
  readonly id: string;
  readonly event: string;
  readonly data: string;
}

/** The events in a text that is an event stream. */
export function parseEvents(text: string): StreamedEvent[] {
  const events: StreamedEvent[] = [];
  createParser({ onEvent: ({ id = '', event = '', data }) => events.push({ id, event, data }) }).feed(text);
  return events;
}

/**
 * Follows a job from its beginning to its `done`, as an EventSource does: whenever the stream breaks off it comes back, to any of
 * the APIs, with the id of the last event that it got. Returns all that it got, in order.
 */
export async function follow(
  urls: readonly string[],
  jobId: string,
  chance: Chance,
  signal: AbortSignal,
): Promise<{ readonly events: readonly StreamedEvent[]; readonly connections: number }> {
  const events: StreamedEvent[] = [];
  for (let connections = 0; ; ) {
    signal.throwIfAborted();
    const last = events.at(-1)?.id;
    // One of its own for each connection: fetch leaves its listeners to the garbage collector, and these would be thousands.
    const connection = new AbortController();
    const end = () => connection.abort();
    signal.addEventListener('abort', end);
    try {
      const response = await fetch(`${chance.one(urls)}/v1/jobs/${jobId}/events`, {
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
      // Broken off, or nobody was there.
    } finally {
      signal.removeEventListener('abort', end);
    }
    if (events.at(-1)?.event === 'done') return { events, connections };
    await sleep(200);
  }
}
