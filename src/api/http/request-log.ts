import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import { newUlid } from '../../contract/ids.ts';
import { auditFields } from '../auth/audit.ts';

/** The id of a request: the client's own `X-Request-Id` when it is safe to log, else a new one. */
export function chooseRequestId(header: string | string[] | undefined): string {
  return typeof header === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(header) ? header : `req_${newUlid()}`;
}

/** Names of log fields by the prefix of an id. */
const ID_FIELDS: { readonly [prefix: string]: string } = {
  job: 'jobId',
  pol: 'policyId',
  smp: 'sampleId',
  img: 'imageId',
  whe: 'webhookEndpointId',
  dlv: 'webhookDeliveryId',
};

/**
 * Makes the logger of a request: each of its lines has the request's id and the id in the request's
 * path.
 */
export function requestLogger(
  this: FastifyInstance,
  logger: FastifyBaseLogger,
  bindings: { readonly [name: string]: unknown },
  options: object,
  request: { readonly url?: string },
): FastifyBaseLogger {
  const [, id] =
    /^\/v1\/[a-z-]+\/((?:job|pol|smp|img|whe|dlv)_[0-9a-z]{26})(?![^/?])/.exec(request.url ?? '') ?? [];
  return logger.child(id === undefined ? bindings : { ...bindings, ...idField(id) }, options);
}

function idField(id: string): { readonly [name: string]: string } {
  const name = ID_FIELDS[id.slice(0, 3)];
  return name === undefined ? {} : { [name]: id };
}

/** Levels of a log in which debug lines appear. */
const DEBUG_LEVELS: ReadonlySet<string> = new Set(['debug', 'trace']);

/** The address without its query, which may hold prompts and metadata of clients. */
function pathOf({ url }: FastifyRequest): string {
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
}

/**
 * Writes one line per request, when it ends. Fastify's default of two lines is most of the log
 * under load; a request that never ends is logged when its client disconnects. The line of a write
 * or a refusal is its audit line too.
 */
export class RequestLogController extends LogController {
  override incomingRequest(request: FastifyRequest): void {
    if (!DEBUG_LEVELS.has(request.log.level)) return;
    const { method, ip: address } = request;
    request.log.debug({ method, url: pathOf(request), address }, 'incoming request');
  }

  override requestCompleted(error: Error | null, request: FastifyRequest, reply: FastifyReply): void {
    const { method, ip: address } = request;
    const url = pathOf(request);
    const audit = auditFields(request, reply);
    const fields: Record<string, unknown> = {
      ...audit,
      method,
      url,
      address,
      status: reply.statusCode,
      responseTime: Math.round(reply.elapsedTime * 100) / 100,
    };
    if (audit?.target && !url.includes(audit.target)) Object.assign(fields, idField(audit.target));
    if (error) request.log.error({ ...fields, err: error }, 'request errored');
    else request.log.info(fields, 'request completed');
  }
}
