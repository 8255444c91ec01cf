import cors from '@fastify/cors';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';

/** What answers tell clients beside their bodies, for pages of other origins to see. */
const EXPOSED = [
  'content-range',
  'etag',
  'location',
  'preference-applied',
  'ratelimit',
  'ratelimit-policy',
  'retry-after',
  'x-request-id',
];

/** What browsers are told: an answer is what it says it is, is no page and runs nothing, and which other pages may read it. */
export const browsers = fp(async (app: FastifyInstance) => {
  const { corsOrigins } = app.services.config;
  const isShared = corsOrigins.length > 0;
  const headers = {
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': isShared ? 'cross-origin' : 'same-site',
    // /docs, which is a page, sets its own.
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
    exposedHeaders: EXPOSED,
    maxAge: 3600,
  });
});
