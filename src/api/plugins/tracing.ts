import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import type { Span } from '../../tracing/tracer.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The span of the request, if traces are on. */
    span?: Span;
  }
}

/**
 * Records a span for each request under /v1, continues the trace of its `traceparent`, and answers
 * with the `traceparent` of the span. Without a tracer it adds no hook.
 */
export const tracing = fp(async (app: FastifyInstance) => {
  const { tracer } = app.services;
  if (!tracer) return;
  app.addHook('onRequest', (request, reply, done) => {
    const { url } = request.routeOptions;
    if (!url?.startsWith('/v1/')) return done();
    const { traceparent } = request.headers;
    request.span = tracer.start(`${request.method} ${url}`, {
      kind: 'server',
      parent: typeof traceparent === 'string' ? traceparent : undefined,
      attributes: {
        'http.request.method': request.method,
        'http.route': url,
        'findery.request_id': request.id,
      },
    });
    reply.header('traceparent', request.span.traceparent);
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    const { span } = request;
    span?.set({ 'http.response.status_code': reply.statusCode });
    if (reply.statusCode >= 500) span?.fail(`status ${reply.statusCode}`);
    span?.end();
    done();
  });
  app.addHook('onRequestAbort', (request, done) => {
    request.span?.fail('the client hung up');
    request.span?.end();
    done();
  });
  app.addHook('onClose', () => tracer.close());
});
