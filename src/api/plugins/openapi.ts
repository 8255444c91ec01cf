import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify';
import fp from 'fastify-plugin';
import { NAMED_SCHEMAS } from '../../contract/schemas/index.ts';
import { VERSION } from '../../version.ts';
import { requiredScopes } from '../auth/scopes.ts';
import { WEBHOOKS } from '../docs/webhook-contract.ts';

/** The OpenAPI 3.1 document, built from the routes' own schemas, and its reference at /docs. */
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
          'Learns, for one prompt, the distribution of the initial noise that makes a frozen diffusion ' +
          'model follow the prompt, and samples any number of new images from it. ' +
          'Errors are RFC 9457 problem details.',
      },
      tags: [
        { name: 'jobs', description: 'optimizations' },
        { name: 'policies', description: 'learned distributions' },
        { name: 'samples', description: 'images sampled from a distribution' },
        { name: 'webhooks', description: 'endpoints that receive events, and the log of deliveries' },
        { name: 'catalog', description: 'installed models, rewards and optimizers; queues and workers' },
        { name: 'keys', description: 'API keys of the tenant; for `admin`, of all tenants' },
        { name: 'service', description: 'the service itself: health and documentation' },
      ],
      components: {
        securitySchemes: {
          key: {
            type: 'http',
            scheme: 'bearer',
            bearerFormat: 'fdy_...',
            description:
              'A key of the service, created with `findery keys create`. A server without keys requires ' +
              'none and serves only its own machine.',
          },
        },
      },
    },
    transform: ({ schema, url, route }) => ({ schema: withSecurity(schema ?? {}, url, route), url }),
    transformObject: (given) =>
      'openapiObject' in given
        ? withWebhooks(withPropertyNames(withOptionalBodies(given.openapiObject)))
        : given.swaggerObject,
    refResolver: { buildLocalReference: (json) => String(json.$id) },
  });
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true });
});

const REFUSAL_HEADERS = {
  'www-authenticate': 'why the key is refused (RFC 6750)',
  'ratelimit-policy':
    'requests and seconds of the limit, as `"requests";q=600;w=60`; in every response to a limited key',
  ratelimit:
    'requests left and seconds until the next window, as `"requests";r=599;t=42`; ' +
    'in every response to a limited key',
  'retry-after': 'seconds to wait before the next attempt',
};

/**
 * Adds what `accessControl` does to a route: its required scope, and the responses 401, 403 and
 * 429.
 */
function withSecurity(schema: FastifySchema, url: string, { method, config }: RouteOptions): FastifySchema {
  const scopes = requiredScopes([method].flat()[0], url, config);
  const responses = schema.response as Record<string, object> | undefined;
  if (scopes.length === 0 || !responses) return { ...schema, security: [] };
  const refusal = (description: string, headers: readonly (keyof typeof REFUSAL_HEADERS)[]) => ({
    ...responses.default,
    description,
    headers: Object.fromEntries(
      headers.map((name) => [name, { type: 'string', description: REFUSAL_HEADERS[name] }]),
    ),
  });
  const refusals = {
    401: refusal('the key is missing or invalid', ['www-authenticate']),
    403: refusal(`the key lacks the scope ${scopes.join(' or ')}`, ['www-authenticate']),
    429: refusal('a rate limit or a quota of the tenant is reached', [
      'ratelimit-policy',
      'ratelimit',
      'retry-after',
    ]),
  };
  return {
    ...schema,
    security: scopes.map((scope) => ({ key: [scope] })),
    response: { ...refusals, ...responses },
  };
}

/** Adds the section `webhooks`: the requests that the service sends. */
function withWebhooks<T extends object>(document: T): T {
  return Object.assign(document, { webhooks: WEBHOOKS });
}

/**
 * The plugin drops `patternProperties`; a schema repeats its key pattern in `x-keys`, which becomes
 * `propertyNames`.
 */
function withPropertyNames<T extends object>(document: T): T {
  for (const [name, value] of Object.entries(document)) {
    if (name === 'x-keys')
      Object.assign(document, { propertyNames: { pattern: value }, 'x-keys': undefined });
    else if (typeof value === 'object' && value !== null) withPropertyNames(value as object);
  }
  return document;
}

/** The plugin marks every body as required; a body that may be null is optional. */
function withOptionalBodies<T extends object>(document: T): T {
  const { paths = {} } = document as { paths?: Record<string, Record<string, Operation>> };
  for (const { requestBody } of Object.values(paths).flatMap((methods) => Object.values(methods))) {
    const choices = requestBody?.content['application/json']?.schema?.anyOf ?? [];
    if (requestBody && choices.some(({ type }) => type === 'null')) requestBody.required = false;
  }
  return document;
}

/** The part of an OpenAPI operation that `withOptionalBodies` reads. */
interface Operation {
  readonly requestBody?: {
    required: boolean;
    readonly content: Record<
      string,
      { readonly schema?: { readonly anyOf?: readonly { readonly type?: string }[] } }
    >;
  };
}
