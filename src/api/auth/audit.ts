import type { FastifyReply, FastifyRequest } from 'fastify';

const READ_METHODS = ['GET', 'HEAD', 'OPTIONS'];

/**
 * The fields that make a request's log line an audit line: caller, action, target, outcome.
 * Null: the request is neither a write nor a refusal.
 */
export function auditFields(request: FastifyRequest, reply: FastifyReply) {
  const { statusCode } = reply;
  const isRefused = statusCode === 401 || statusCode === 403;
  const isRead = READ_METHODS.includes(request.method);
  if (!isRefused && isRead) return null;
  const { caller, routeOptions: route } = request;
  if (!isRefused && route.url === undefined) return null;
  return {
    audit: true,
    tenant: caller?.tenant ?? null,
    key: caller?.key?.id ?? null,
    keyName: caller?.key?.name ?? null,
    action: operationOf(request.method, route),
    target: targetOf(request, reply.getHeader('location')),
    outcome: isRefused ? 'refused' : statusCode < 400 ? 'done' : 'failed',
  };
}

/** The `operationId` of the contract, else method and URL. */
function operationOf(method: string, { schema, url }: FastifyRequest['routeOptions']): string {
  return (schema as { operationId?: string } | undefined)?.operationId ?? `${method} ${url}`;
}

/** The id of the created record, else the id in the path. */
function targetOf(request: FastifyRequest, location: unknown): string | null {
  const created = typeof location === 'string' ? location.split('/').at(-1) : undefined;
  return created ?? (request.params as { id?: string } | undefined)?.id ?? null;
}
