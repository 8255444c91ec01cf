import { once } from 'node:events';
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { Link } from '../../contract/schemas/common.ts';
import { JobEvent } from '../../contract/schemas/event.ts';
import { FINAL_STATUSES } from '../../contract/schemas/job.ts';
import { BEGINNING, comparePositions, latestPosition, parsePosition } from '../../records/events.ts';
import { EventFeeds } from '../event-feed.ts';
import { goneSignal } from '../plugins/prefer.ts';
import { answers, IdInPath } from '../responses.ts';

/** Milliseconds between two heartbeats of a stream in which nothing happens. */
const HEARTBEAT = 15_000;

/** A job as server-sent events: all that happened, then what happens, until the job ends. */
export const jobEvents: FastifyPluginAsyncTypebox = async (app) => {
  const { store, closing, heartbeatMilliseconds = HEARTBEAT } = app.services;
  const feeds = new EventFeeds(store);

  app.get(
    '/v1/jobs/:id/events',
    {
      exposeHeadRoute: false, // it would follow the job to its end to say nothing
      schema: {
        operationId: 'followJob',
        summary: 'Follow a job (server-sent events); `Last-Event-ID` replays what was missed',
        tags: ['jobs'],
        params: IdInPath,
        headers: Type.Object({ 'last-event-id': Type.Optional(Type.String({ maxLength: 64 })) }),
        querystring: Type.Object(
          { lastEventId: Type.Optional(Type.String({ maxLength: 64 })) },
          { additionalProperties: false },
        ),
        response: answers({
          200: {
            description: 'events, of which the schema describes each; the last one is `done`',
            content: { 'text/event-stream': { schema: Link(JobEvent) } },
          },
          204: { description: 'the job has ended, and all was sent before', type: 'null' },
        }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { store } = request;
      const job = await store.jobs.get(id);
      const latest = await latestPosition(store.redis, store.keys, id);
      let position = parsePosition(request.headers['last-event-id'] ?? request.query.lastEventId ?? '');
      // A position that is still to come is none of this stream (Redis was restored, say).
      if (comparePositions(position, latest) > 0) position = BEGINNING;

      // An EventSource comes back after the end, until it is told that there is no more.
      if (FINAL_STATUSES.includes(job.status) && position === latest) return reply.code(204).send(null);
      let wake = () => {};
      const onNews = () => wake();
      const feed = await feeds.join(id, onNews);

      // From here on the answer is a stream of its own; fastify's part ends.
      reply.hijack();
      const { raw } = reply;
      raw.writeHead(200, {
        ...(reply.getHeaders() as OutgoingHttpHeaders),
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
        connection: 'close',
      });
      raw.write('retry: 2000\n\n');

      const signal = goneSignal(raw, closing);
      signal.addEventListener('abort', onNews);
      const heartbeat = setInterval(beat, heartbeatMilliseconds, raw);
      try {
        for (let isDone = false; !isDone && !signal.aborted; ) {
          const frames = feed.after(position) ?? (await feed.readPage(position));
          if (frames.length === 0) {
            await new Promise<void>((resolve) => {
              wake = resolve;
              if (signal.aborted || feed.after(position)?.length) resolve(); // it came while the page was read
            });
          }
          for (const frame of frames) {
            if (signal.aborted) break;
            position = frame.id;
            isDone ||= frame.isLast;
            // A client that reads slowly is waited for, not buffered without end.
            if (!raw.write(frame.bytes)) await once(raw, 'drain', { signal }).catch(() => {});
          }
        }
      } catch (error) {
        request.log.warn({ err: error }, 'event stream broken off'); // the client comes back with Last-Event-ID
      } finally {
        clearInterval(heartbeat);
        feed.leave(onNews);
        raw.end();
      }
    },
  );
};

/** Responses in which nothing had moved at the last heartbeat. */
const stuck = new WeakSet<ServerResponse>();

/** Keeps a quiet connection open; one that took nothing from one heartbeat to the next has nobody at its other end. */
function beat(raw: ServerResponse): void {
  if (!raw.writableNeedDrain) {
    stuck.delete(raw);
    raw.write(': still here\n\n');
  } else if (stuck.has(raw)) {
    raw.destroy();
  } else {
    stuck.add(raw);
    raw.once('drain', () => stuck.delete(raw));
  }
}
