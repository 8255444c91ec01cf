import type { Registry } from '@prometheus-io/client';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { openRegistry } from '../../metrics/registry.ts';
import { RequestMetrics } from '../metrics/request-metrics.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** The metrics of this server. */
    metrics: Registry;
  }
}

/** Measures every request. The route `/metrics` exports the result. */
export const measureRequests = fp(async (app: FastifyInstance) => {
  const registry = openRegistry('api');
  const requests = new RequestMetrics(registry);
  app.decorate('metrics', registry);
  app.addHook('onResponse', (request, reply, done) => {
    requests.record(request, reply);
    done();
  });
});
