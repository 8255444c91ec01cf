import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { Ref } from '../../contract/schemas/common.ts';
import { JobEvent } from '../../contract/schemas/event.ts';
import { FINAL_STATUSES } from '../../contract/schemas/job.ts';
import { BEGINNING, comparePositions, latestPosition, parsePosition } from '../../records/events.ts';
import { EventFeeds } from '../events/event-feed.ts';
import { EventStream } from '../events/event-stream.ts';
import { StreamLimiter } from '../events/stream-limiter.ts';
import { holdSignal } from '../http/prefer.ts';
import { emptyResponse, IdInPath, responses } from '../http/route-schemas.ts';

const HEARTBEAT_MS = 15_000;
/** Streams that a key may have open at a time, in each process. */
const MAX_STREAMS_OF_KEY = 256;
/** How long an EventSource waits before it reconnects. */
const RECONNECT_MS = 2000;

/** The events of a job as server-sent events: all past events, then new ones until the job ends. */
export const jobEvents: FastifyPluginAsyncTypebox = async (app) => {
  const { store, heartbeatMilliseconds = HEARTBEAT_MS } = app.services;
  const feeds = new EventFeeds(store);
  const limiter = new StreamLimiter(MAX_STREAMS_OF_KEY);

  app.get(
    '/v1/jobs/:id/events',
    {
      exposeHeadRoute: false, // HEAD would follow the job to its end and send nothing
      schema: {
        operationId: 'followJob',
        summary: 'Follow a job by server-sent events; `Last-Event-ID` replays missed events',
        tags: ['jobs'],
        params: IdInPath,
        headers: Type.Object({ 'last-event-id': Type.Optional(Type.String({ maxLength: 64 })) }),
        querystring: Type.Object(
          { lastEventId: Type.Optional(Type.String({ maxLength: 64 })) },
          { additionalProperties: false },
        ),
        response: responses({
          200: {
            description: 'a stream of events; the schema describes one event, and `done` is the last one',
            content: { 'text/event-stream': { schema: Ref(JobEvent) } },
          },
          204: emptyResponse('the job has ended and the client has all of its events'),
        }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { status } = await request.store.jobs.get(id);
      const latest = await latestPosition(store.redis, store.keys, id);
      const given = parsePosition(request.headers['last-event-id'] ?? request.query.lastEventId ?? '');
      // A position after the latest event belongs to another stream, such as one before a restore
      // of Redis.
      const position = comparePositions(given, latest) > 0 ? BEGINNING : given;
      // An EventSource reconnects after the end of a stream; 204 stops it.
      if (FINAL_STATUSES.includes(status) && position === latest) return reply.code(204).send(null);
      const end = limiter.start(request.caller?.key?.id ?? null);
      const stream = await EventStream.open(feeds, id).catch((error) => {
        end();
        throw error;
      });

      reply.hijack(); // Fastify does not answer any more
      const { raw } = reply;
      raw.writeHead(200, {
        ...(reply.getHeaders() as OutgoingHttpHeaders),
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
        connection: 'close',
      });
      raw.write(`retry: ${RECONNECT_MS}\n\n`);
      try {
        const signal = holdSignal(request, reply);
        await stream.send(raw, { position, signal, heartbeatMilliseconds });
      } catch (error) {
        // The client reconnects with Last-Event-ID.
        request.log.warn({ err: error }, 'event stream broke off');
      } finally {
        end();
        raw.end();
      }
    },
  );
};
