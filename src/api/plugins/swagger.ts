import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify';
import fp from 'fastify-plugin';
import { NAMED_SCHEMAS } from '../../contract/schemas/index.ts';
import { VERSION } from '../../version.ts';
import { scopeOf } from '../scopes.ts';
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
          'Learns, for one prompt, the distribution of the initial noise that makes a frozen diffusion model keep to it; then draws as many new images from it as wanted. Errors are RFC 9457 problem details.',
      },
      tags: [
        { name: 'jobs', description: 'optimisations' },
        { name: 'policies', description: 'learned distributions' },
        { name: 'samples', description: 'images drawn from a distribution' },
        { name: 'webhooks', description: 'who is told what happened, and what came of telling' },
        { name: 'catalog', description: 'what is installed' },
        { name: 'service', description: 'health and contract' },
      ],
      components: {
        securitySchemes: {
          key: {
            type: 'http',
            scheme: 'bearer',
            bearerFormat: 'fdy_...',
            description:
              'A key of the service, made with `findery keys create`. A server that has none asks for none, and only this machine can reach it.',
          },
        },
      },
    },
    transform: ({ schema, url, route }) => ({ schema: withKeys(schema ?? {}, url, route), url }),
    transformObject: (given) =>
      'openapiObject' in given
        ? withWebhooks(namedKeys(optionalBodies(given.openapiObject)))
        : given.swaggerObject,
    refResolver: { buildLocalReference: (json) => String(json.$id) },
  });
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true });
});

const REFUSAL_HEADERS = {
  'www-authenticate': 'what is wrong with the key (RFC 6750)',
  'ratelimit-policy':
    'how many requests the key has in how many seconds, as `"requests";q=600;w=60`; in every answer to such a key',
  ratelimit: 'how many are left, and seconds until the next ones, as `"requests";r=599;t=42`; likewise',
  'retry-after': 'seconds until it is worth asking again',
};

/** What a key has to allow, and the problems of those who may not; as `access` has it. */
function withKeys(schema: FastifySchema, url: string, { method, config }: RouteOptions): FastifySchema {
  const scope = scopeOf([method].flat()[0], url, config);
  const answers = schema.response as Record<string, object> | undefined;
  if (scope === null || !answers) return { ...schema, security: [] };
  const refusal = (description: string, headers: readonly (keyof typeof REFUSAL_HEADERS)[]) => ({
    ...answers.default,
    description,
    headers: Object.fromEntries(
      headers.map((name) => [name, { type: 'string', description: REFUSAL_HEADERS[name] }]),
    ),
  });
  const limited = refusal('too many requests, or more than the tenant may have', [
    'ratelimit-policy',
    'ratelimit',
    'retry-after',
  ]);
  const refusals = {
    401: refusal('no key, or one that does not count', ['www-authenticate']),
    403: refusal(`the key lacks the scope ${scope}`, ['www-authenticate']),
    429: limited,
  };
  return { ...schema, security: [{ key: [scope] }], response: { ...refusals, ...answers } };
}

/** What the service sends, beside what it answers. */
function withWebhooks<T extends object>(document: T): T {
  return Object.assign(document, { webhooks: WEBHOOKS });
}

/** The plugin loses what `patternProperties` says of keys; a schema that says it in `x-keys` too keeps it, as `propertyNames`. */
function namedKeys<T extends object>(document: T): T {
  for (const [name, value] of Object.entries(document)) {
    if (name === 'x-keys')
      Object.assign(document, { propertyNames: { pattern: value }, 'x-keys': undefined });
    else if (typeof value === 'object' && value !== null) namedKeys(value as object);
  }
  return document;
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
    readonly content: Record<
      string,
      { readonly schema?: { readonly anyOf?: readonly { readonly type?: string }[] } }
    >;
  };
}
