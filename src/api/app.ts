import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { answerBroken, hardenHttp, serverOptions } from './http-hardening.ts';
import { access } from './plugins/access.ts';
import { browsers } from './plugins/browsers.ts';
import { json } from './plugins/json.ts';
import { problems, sendProblem } from './plugins/problems.ts';
import { openapi } from './plugins/swagger.ts';
import { validation } from './plugins/validation.ts';
import { OneLineEach, requestId, requestLogger } from './request-log.ts';
import { catalog } from './routes/catalog.ts';
import { images } from './routes/images.ts';
import { jobEvents } from './routes/job-events.ts';
import { jobLifecycle } from './routes/job-lifecycle.ts';
import { jobRewards } from './routes/job-rewards.ts';
import { jobs } from './routes/jobs.ts';
import { policies } from './routes/policies.ts';
import { samples } from './routes/samples.ts';
import { service } from './routes/service.ts';
import { webhookDeliveries } from './routes/webhook-deliveries.ts';
import { webhookEndpoints } from './routes/webhook-endpoints.ts';
import type { Services } from './services.ts';

/** The HTTP interface, wired and not yet listening. */
export async function buildApp(services: Services, logger?: Logger): Promise<FastifyInstance> {
  const app = Fastify({
    ...(logger ? { loggerInstance: logger as FastifyBaseLogger } : { logger: false }),
    bodyLimit: services.config.bodyLimit,
    http: serverOptions(services.config),
    requestTimeout: services.config.requestSeconds * 1000,
    clientErrorHandler: answerBroken,
    trustProxy: services.config.trustProxy.length > 0 && [...services.config.trustProxy],
    genReqId: ({ headers }) => requestId(headers['x-request-id']),
    childLoggerFactory: requestLogger,
    logController: new OneLineEach({ requestIdLogLabel: 'requestId' }),
    routerOptions: { maxParamLength: 128, ignoreTrailingSlash: true },
    frameworkErrors: sendProblem,
    return503OnClosing: true,
    forceCloseConnections: 'idle',
  }).withTypeProvider<TypeBoxTypeProvider>();
  app.decorate('services', services);
  // Hooks that wait for nothing call back: a promise each would be a good part of what a short request costs.
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    done();
  });
  // A connection that is kept after its answer would hold up the end of the server.
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (services.closing.aborted) reply.header('connection', 'close');
    done();
  });
  await app.register(browsers); // first: its route for every OPTIONS is no address of ours
  await app.register(problems);
  await app.register(hardenHttp);
  await app.register(access);
  await app.register(json);
  await app.register(validation);
  await app.register(openapi);
  for (const routes of [
    jobs,
    jobLifecycle,
    jobEvents,
    jobRewards,
    policies,
    samples,
    images,
    webhookEndpoints,
    webhookDeliveries,
    catalog,
    service,
  ])
    await app.register(routes);
  return app as unknown as FastifyInstance;
}
