import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { METRICS_TYPE, renderMetrics } from '../../metrics/registry.ts';
import { responses } from '../http/route-schemas.ts';
import { readServiceFigures } from '../metrics/service-figures.ts';
import { serviceMetrics } from '../metrics/service-metrics.ts';

/**
 * Exports the metrics of this process, and of what all processes of the service share. Workers
 * export their own.
 */
export const metrics: FastifyPluginAsyncTypebox = async (app) => {
  const { store, catalog } = app.services;

  let reading: Promise<string> | null = null;
  const render = async () => {
    const { models } = await catalog.now();
    const names = models.map(({ name }) => name);
    const figures = await readServiceFigures(store, names).catch((error: unknown) => {
      app.log.warn({ err: error }, 'the shared metrics could not be read');
      return null;
    });
    const shared = await serviceMetrics(figures, Date.now()).metrics();
    return `${shared}\n${await renderMetrics(app.metrics)}`;
  };

  app.get(
    '/metrics',
    {
      logLevel: 'warn',
      schema: {
        operationId: 'getMetrics',
        summary: "Export metrics in Prometheus' text format",
        tags: ['service'],
        response: responses({
          200: {
            description: 'the metrics of this process, and those that all processes share',
            content: { 'text/plain': { schema: Type.String() } },
          },
        }),
      },
    },
    async (_request, reply) => {
      // Scrapers that come at the same time share an answer.
      reading ??= render().finally(() => {
        reading = null;
      });
      return reply.type(METRICS_TYPE).send(await reading);
    },
  );
};
