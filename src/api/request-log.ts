import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import { newUlid } from '../contract/ids.ts';
import { auditOf } from './audit.ts';

/** The id of a request: a client's own when it is one that can stand in a log, else a new one. */
export function requestId(given: string | string[] | undefined): string {
  return typeof given === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(given) ? given : `req_${newUlid()}`;
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
  const [, id] =
    /^\/v1\/[a-z-]+\/((?:job|pol|smp|img|whe|dlv)_[0-9a-z]{26})(?![^/?])/.exec(request.url ?? '') ?? [];
  return logger.child(id === undefined ? bindings : { ...bindings, ...namedId(id) }, options);
}

/** The id of what a request is about, or made, under the name that lines have for it. */
function namedId(id: string): { readonly [name: string]: string } {
  const name = NAMES[id.slice(0, 3)];
  return name === undefined ? {} : { [name]: id };
}

/**
 * One line for each request, when it is over, with what two lines (it came, it is over) would say: under load they are most of the log, and a
 * request that never ends shows as a client that went away. That of a write or a refusal is its line in the audit as well.
 */
export class OneLineEach extends LogController {
  override incomingRequest(request: FastifyRequest): void {
    request.log.debug({ req: request }, 'incoming request');
  }

  override requestCompleted(error: Error | null, request: FastifyRequest, reply: FastifyReply): void {
    const { method, url, ip: address } = request;
    const audited = auditOf(request, reply);
    const done: Record<string, unknown> = {
      ...audited,
      method,
      url,
      address,
      status: reply.statusCode,
      responseTime: Math.round(reply.elapsedTime * 100) / 100,
    };
    if (audited?.target && !url.includes(audited.target)) Object.assign(done, namedId(audited.target));
    if (error) request.log.error({ ...done, err: error }, 'request errored');
    else request.log.info(done, 'request completed');
  }
}
