import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { NAMED_SCHEMAS } from '../../jobs/schemas/index.ts';
import { VERSION } from '../../version.ts';
import { WEBHOOKS } from '../webhook-contract.ts';

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
        { name: 'webhooks', description: 'who is told what happened, and what came of telling' },
        { name: 'catalog', description: 'what is installed' },
        { name: 'service', description: 'health and contract' },
      ],
    },
    transformObject: (given) =>
      'openapiObject' in given ? withWebhooks(optionalBodies(given.openapiObject)) : given.swaggerObject,
    refResolver: { buildLocalReference: (json) => String(json.$id) },
  });
  await app.register(swaggerUi, { routePrefix: '/docs' });
});

/** What the service sends, beside what it answers. */
function withWebhooks<T extends object>(document: T): T {
  return Object.assign(document, { webhooks: WEBHOOKS });
}

/** The plugin calls every body required; those that may be null may be left out. */
function optionalBodies<T extends object>(document: T): T {
  const { paths = {} } = document as { paths?: Record<string, Record<string, Operation>> };
  for (const { requestBody } of Object.values(paths).flatMap((methods) => Object.values(methods))) {
    const choices = requestBody?.content['application/json']?.schema?.anyOf ?? [];
    if (requestBody && choices.some(({ type }) => type === 'null')) requestBody.required = false;
  }
  return document;
}

interface Operation {
  readonly requestBody?: {
    required: boolean;
    readonly content: Record<string, { readonly schema?: { readonly anyOf?: readonly { readonly type?: string }[] } }>;
  };
}
