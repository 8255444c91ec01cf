import { Histogram, type Registry } from '@prometheus-io/client';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** Upper bounds of the buckets, in seconds. Held answers and event streams last up to minutes. */
const BUCKETS = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

/** Label of requests that no route matches: their addresses are the clients' own. */
const NO_ROUTE = 'none';

interface Series {
  observe(seconds: number): void;
}

/**
 * Measures requests by method, route and status. The route is its pattern, as `/v1/jobs/:id`. This
 * runs for every request, so the series of a route and status is looked up, not made.
 */
export class RequestMetrics {
  readonly #histogram;
  /** By the configuration of the route, of which there is one for each route and method. */
  readonly #routes = new Map<object, Map<number, Series>>();

  constructor(registry: Registry) {
    this.#histogram = new Histogram({
      name: 'findery_http_request_duration_seconds',
      help: 'Time from the headers of a request to the end of its response.',
      labelNames: ['method', 'route', 'status'],
      buckets: BUCKETS,
      registers: [registry],
    });
  }

  /** Counts a request whose response has ended. */
  record(request: FastifyRequest, reply: FastifyReply): void {
    const { url, config } = request.routeOptions;
    const byStatus = this.#routes.get(config) ?? this.#add(config);
    const status = reply.statusCode;
    let series = byStatus.get(status);
    if (!series) {
      const method = url === undefined ? NO_ROUTE : request.method;
      series = this.#histogram.labels(method, url ?? NO_ROUTE, String(status)) as Series;
      byStatus.set(status, series);
    }
    series.observe(reply.elapsedTime / 1000);
  }

  #add(config: object): Map<number, Series> {
    const byStatus = new Map<number, Series>();
    this.#routes.set(config, byStatus);
    return byStatus;
  }
}
