import type { FastifyInstance, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';

const READS = ['GET', 'HEAD', 'OPTIONS'];

/** One line in the log for every write and every refusal: who, what, of which id, with which outcome. */
export const audit = fp(async (app: FastifyInstance) => {
  app.addHook('onResponse', (request, reply, done) => {
    done();
    const { statusCode } = reply;
    const isRefused = statusCode === 401 || statusCode === 403;
    const isWrite = !READS.includes(request.method) && request.routeOptions.url !== undefined;
    if (!isRefused && !isWrite) return;
    request.log.info(
      {
        audit: true,
        tenant: request.caller?.tenant ?? null,
        key: request.caller?.key?.id ?? null,
        keyName: request.caller?.key?.name ?? null,
        address: request.ip,
        action: actionOf(request),
        target: targetOf(request, reply.getHeader('location')),
        status: statusCode,
        outcome: isRefused ? 'refused' : statusCode < 400 ? 'done' : 'failed',
      },
      'audit',
    );
  });
});

/** Its name in the contract. */
function actionOf({ routeOptions, method }: FastifyRequest): string {
  const schema = routeOptions.schema as { operationId?: string } | undefined;
  return schema?.operationId ?? `${method} ${routeOptions.url}`;
}

/** The id of what it made, else of what its path names. */
function targetOf(request: FastifyRequest, location: unknown): string | null {
  const made = typeof location === 'string' ? location.split('/').at(-1) : undefined;
  return made ?? (request.params as { id?: string } | undefined)?.id ?? null;
}
