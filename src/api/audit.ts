import type { FastifyReply, FastifyRequest } from 'fastify';

const READS = ['GET', 'HEAD', 'OPTIONS'];

/** What the log says of a write or a refusal beside what it says of every request: who, what, of which id, with which outcome. Null: it is neither. */
export function auditOf(request: FastifyRequest, reply: FastifyReply) {
  const { statusCode } = reply;
  const isRefused = statusCode === 401 || statusCode === 403;
  const route = request.routeOptions; // made anew each time
  const isWrite = !READS.includes(request.method) && route.url !== undefined;
  if (!isRefused && !isWrite) return null;
  const { caller } = request;
  return {
    audit: true,
    tenant: caller?.tenant ?? null,
    key: caller?.key?.id ?? null,
    keyName: caller?.key?.name ?? null,
    action: actionOf(request.method, route),
    target: targetOf(request, reply.getHeader('location')),
    outcome: isRefused ? 'refused' : statusCode < 400 ? 'done' : 'failed',
  };
}

/** Its name in the contract. */
function actionOf(method: string, { schema, url }: FastifyRequest['routeOptions']): string {
  return (schema as { operationId?: string } | undefined)?.operationId ?? `${method} ${url}`;
}

/** The id of what it made, else of what its path names. */
function targetOf(request: FastifyRequest, location: unknown): string | null {
  const made = typeof location === 'string' ? location.split('/').at(-1) : undefined;
  return made ?? (request.params as { id?: string } | undefined)?.id ?? null;
}
