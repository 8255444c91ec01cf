import { once } from 'node:events';
import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { isEventId, readEvents } from '../../jobs/events.ts';
import { Link } from '../../jobs/schemas/common.ts';
import { JobEvents } from '../../jobs/schemas/event.ts';
import { ENDED } from '../../jobs/schemas/job.ts';
import { answers, IdInPath } from '../answers.ts';

const HEARTBEAT = 15_000;

/** A job as server-sent events: all that happened, then what happens, until the job ends. */
export const jobEvents: FastifyPluginAsyncTypebox = async (app) => {
  const { closing } = app.services;

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
            description: '`event` is status, iteration, preview or done',
            content: { 'text/event-stream': { schema: Link(JobEvents) } },
          },
          204: { description: 'the job has ended, and all was sent before', type: 'null' },
        }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { store } = request;
      const job = await store.jobs.get(id);
      const asked = request.headers['last-event-id'] ?? request.query.lastEventId ?? '0';
      let position = isEventId(asked) ? asked : '0';

      // An EventSource comes back after the end, until it is told that there is no more.
      if (ENDED.includes(job.status) && (await readEvents(store.redis, store.keys, id, position, 1)).length === 0)
        return reply.code(204).send(null);

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

      const gone = new AbortController();
      raw.once('close', () => gone.abort());
      raw.on('error', () => gone.abort());
      const signal = AbortSignal.any([gone.signal, closing]);
      const heartbeat = setInterval(() => raw.write(': still here\n\n'), HEARTBEAT);
      try {
        for (let isDone = false; !isDone && !signal.aborted; ) {
          const events = await store.changes.until(
            id,
            60_000,
            async () => {
              const found = await readEvents(store.redis, store.keys, id, position);
              return found.length > 0 ? found : null;
            },
            signal,
          );
          for (const event of events ?? []) {
            position = event.id;
            isDone ||= event.type === 'done';
            const flowing = raw.write(`id: ${event.id}\nevent: ${event.type}\ndata: ${event.data}\n\n`);
            // A client that reads slowly is waited for, not buffered without end.
            if (!flowing && !signal.aborted) await once(raw, 'drain', { signal }).catch(() => {});
          }
        }
      } catch (error) {
        request.log.warn({ err: error }, 'event stream broken off'); // the client comes back with Last-Event-ID
      } finally {
        clearInterval(heartbeat);
        raw.end();
      }
    },
  );
};
