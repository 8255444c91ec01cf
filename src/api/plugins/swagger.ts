import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { NAMED_SCHEMAS } from '../../jobs/schemas/index.ts';
import { VERSION } from '../../version.ts';

/** The contract (OpenAPI 3.1) from the routes' own schemas, and its reference at /docs. */
export const openapi = fp(async (app: FastifyInstance) => {
  for (const schema of NAMED_SCHEMAS) app.addSchema(schema);
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'findery',
        version: VERSION,
        license: { name: 'MIT', identifier: 'MIT' },
        description:
          'Learns, for one prompt, the law of the initial noise that makes a frozen diffusion model keep to it; then draws as many new images from it as wanted. Errors are RFC 9457 problem details.',
      },
      tags: [
        { name: 'jobs', description: 'optimisations' },
        { name: 'policies', description: 'learned laws' },
        { name: 'samples', description: 'images drawn from a law' },
        { name: 'catalog', description: 'what is installed' },
        { name: 'service', description: 'health and contract' },
      ],
    },
    refResolver: { buildLocalReference: (json) => String(json.$id) },
  });
  await app.register(swaggerUi, { routePrefix: '/docs' });
});
