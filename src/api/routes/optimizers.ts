import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { OptimizerInfo } from '../../contract/schemas/catalog.ts';
import { DEFAULT_OPTIMIZER, OPTIMIZERS } from '../../numerics/optimizers/registry.ts';
import { ListOf, responses } from '../http/route-schemas.ts';

/** The optimizers. */
export const optimizers: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/v1/optimizers',
    {
      schema: {
        operationId: 'listOptimizers',
        summary: 'List the optimizers with their parameters',
        tags: ['catalog'],
        response: responses({ 200: ListOf(OptimizerInfo) }),
      },
    },
    async () => ({
      data: OPTIMIZERS.map(({ name, aliases, title, source, parameters }) => ({
        object: 'optimizer' as const,
        name,
        aliases: [...(aliases ?? [])],
        title,
        source,
        default: name === DEFAULT_OPTIMIZER,
        parameters,
      })),
    }),
  );
};
