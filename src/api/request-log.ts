import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { ulid } from 'ulid';

/** The id of a request: a client's own when it is one that can stand in a log, else a new one. */
export function requestId(given: string | string[] | undefined): string {
  return typeof given === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(given) ? given : `req_${ulid().toLowerCase()}`;
}

const NAMES: { readonly [prefix: string]: string } = {
  job: 'jobId',
  pol: 'policyId',
  smp: 'sampleId',
  img: 'imageId',
  whe: 'webhookEndpointId',
  dlv: 'webhookDeliveryId',
};

/** What every line of a request's log carries: the request's id, and the id of what its path names. */
export function requestLogger(
  this: FastifyInstance,
  logger: FastifyBaseLogger,
  bindings: { readonly [name: string]: unknown },
  options: object,
  request: { readonly url?: string },
): FastifyBaseLogger {
  const [, id, prefix] =
    /^\/v1\/[a-z-]+\/((job|pol|smp|img|whe|dlv)_[0-9a-z]{26})(?![^/?])/.exec(request.url ?? '') ?? [];
  return logger.child(id === undefined ? bindings : { ...bindings, [NAMES[prefix]]: id }, options);
}
