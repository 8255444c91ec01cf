import cors from '@fastify/cors';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';

/** Response headers that pages of other origins may read. */
const EXPOSED_HEADERS = [
  'content-range',
  'etag',
  'idempotent-replayed',
  'location',
  'preference-applied',
  'ratelimit',
  'ratelimit-policy',
  'retry-after',
  'x-request-id',
];

/**
 * Security headers for browsers (responses are data, never pages), and CORS for the configured
 * origins.
 */
export const browserSecurity = fp(async (app: FastifyInstance) => {
  const { corsOrigins } = app.services.config;
  const isShared = corsOrigins.length > 0;
  const headers = {
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': isShared ? 'cross-origin' : 'same-site',
    // /docs is a page and sets its own policy.
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  };
  app.addHook('onRequest', (_request, reply, done) => {
    reply.headers(headers);
    done();
  });
  if (!isShared) return;
  await app.register(cors, {
    origin: corsOrigins.includes('*') ? '*' : [...corsOrigins],
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: 3600,
  });
});
