import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { answerBrokenRequest, hardenHttp, serverOptions } from './http/hardening.ts';
import { chooseRequestId, RequestLogController, requestLogger } from './http/request-log.ts';
import { removeContentHeaders } from './http/send.ts';
import { accessControl } from './plugins/access-control.ts';
import { browserSecurity } from './plugins/browser-security.ts';
import { idempotency } from './plugins/idempotency.ts';
import { jsonBodies } from './plugins/json-bodies.ts';
import { measureRequests } from './plugins/measure-requests.ts';
import { openapi } from './plugins/openapi.ts';
import { problems, sendProblem } from './plugins/problems.ts';
import { tracing } from './plugins/tracing.ts';
import { validation } from './plugins/validation.ts';
import { createImage } from './routes/create-image.ts';
import { documentation } from './routes/documentation.ts';
import { health } from './routes/health.ts';
import { images } from './routes/images.ts';
import { jobEvents } from './routes/job-events.ts';
import { jobLifecycle } from './routes/job-lifecycle.ts';
import { jobRewards } from './routes/job-rewards.ts';
import { jobs } from './routes/jobs.ts';
import { keys } from './routes/keys.ts';
import { metrics } from './routes/metrics.ts';
import { models } from './routes/models.ts';
import { optimizers } from './routes/optimizers.ts';
import { policies } from './routes/policies.ts';
import { queues } from './routes/queues.ts';
import { rewards } from './routes/rewards.ts';
import { samples } from './routes/samples.ts';
import { usage } from './routes/usage.ts';
import { webhookDeliveries } from './routes/webhook-deliveries.ts';
import { webhookEndpoints } from './routes/webhook-endpoints.ts';
import { workers } from './routes/workers.ts';
import type { Services } from './services.ts';

/**
 * Plugins in the order in which their hooks run. `measureRequests` comes first, so that no
 * response escapes it; `browserSecurity` next: its CORS part answers every OPTIONS request.
 */
const PLUGINS = [
  measureRequests,
  browserSecurity,
  problems,
  tracing,
  hardenHttp,
  accessControl,
  jsonBodies,
  validation,
  idempotency,
  openapi,
] as const;

/** Routes, one plugin per resource, in the order of the OpenAPI document. */
const ROUTES = [
  jobs,
  jobLifecycle,
  jobEvents,
  jobRewards,
  policies,
  samples,
  createImage,
  images,
  webhookEndpoints,
  webhookDeliveries,
  models,
  rewards,
  optimizers,
  queues,
  workers,
  usage,
  keys,
  health,
  metrics,
  documentation,
] as const;

/** Wires the HTTP interface; it does not listen yet. */
export async function buildApp(services: Services, logger?: Logger): Promise<FastifyInstance> {
  const { config, closing } = services;
  const app: FastifyInstance = Fastify({
    ...(logger ? { loggerInstance: logger as FastifyBaseLogger } : { logger: false }),
    bodyLimit: config.bodyLimit,
    http: serverOptions(config),
    requestTimeout: config.requestSeconds * 1000,
    clientErrorHandler: answerBrokenRequest,
    trustProxy: config.trustProxy.length > 0 && [...config.trustProxy],
    genReqId: ({ headers }) => chooseRequestId(headers['x-request-id']),
    childLoggerFactory: requestLogger,
    logController: new RequestLogController({ requestIdLogLabel: 'requestId' }),
    routerOptions: { maxParamLength: 128, ignoreTrailingSlash: true },
    frameworkErrors: sendProblem,
    return503OnClosing: true,
    forceCloseConnections: 'idle',
  });
  app.decorate('services', services);
  // Hooks without I/O use callbacks: promises would be a large part of the cost of a short request.
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    done();
  });
  app.addHook('onSend', (_request, reply, _payload, done) => {
    // Keep-alive connections would delay the end of the server.
    if (closing.aborted) reply.header('connection', 'close');
    if (reply.statusCode !== 204 && reply.statusCode !== 304) return done();
    removeContentHeaders(reply);
    done(null, null); // the serialized payload, "null", would have a length
  });
  for (const plugin of PLUGINS) await app.register(plugin);
  for (const routes of ROUTES) await app.register(routes);
  return app;
}
