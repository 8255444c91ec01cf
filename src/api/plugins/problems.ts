import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { ProblemError, problemOf } from '../../contract/problem.ts';
import { RecordVersionError } from '../../records/migrations.ts';
import { BlobStoreError, StorageFullError } from '../../storage/blobs.ts';
import { describeValidation } from '../http/describe-validation.ts';

/** Validation errors listed in one problem; a body can have thousands. */
const MAX_ERRORS = 20;

/** Answers every error, 404 and 405 as application/problem+json (RFC 9457). */
export const problems = fp(async (app: FastifyInstance) => {
  const routes: { methods: string[]; pattern: RegExp }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const pattern = url
      .replace(/[.]/g, '\\$&')
      .replace(/:[^/]+/g, '[^/]+')
      .replace(/\*/g, '.*');
    routes.push({ methods: [method].flat(), pattern: new RegExp(`^${pattern}/?$`) });
  });
  app.setErrorHandler(sendProblem);
  // 404 and 405 are answered before the body is read.
  app.addHook('onRequest', (request, reply, done) => {
    if (request.is404) sendNoRoute(request, reply);
    else done();
  });
  app.setNotFoundHandler(sendNoRoute);

  /** 405 with `Allow` where the path exists for other methods, else 404. */
  function sendNoRoute(request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const [path] = request.url.split('?');
    const matching = routes.filter(({ pattern }) => pattern.test(path));
    const allowed = [...new Set(matching.flatMap(({ methods }) => methods))].join(', ');
    if (allowed === '') {
      const detail = `There is nothing at ${path.slice(0, 200)}. /docs lists all addresses.`;
      return sendProblem(new ProblemError('not-found', detail), request, reply);
    }
    reply.header('allow', allowed);
    const detail = `${request.method} ${path} is not possible; this address takes ${allowed}.`;
    return sendProblem(new ProblemError('method-not-allowed', detail), request, reply);
  }
});

/**
 * Answers with the problem of `error`. An unexpected error is logged and answered as `internal`.
 */
export function sendProblem(
  error: FastifyError | ProblemError,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const known = error instanceof ProblemError ? error : toProblemSafely(error, request);
  if (!known) request.log.error({ err: error }, 'request failed');
  const problem = problemOf(known ?? error, request.id);
  if (known?.retryAfter !== undefined) reply.header('retry-after', String(known.retryAfter));
  else if (problem.status === 503) reply.header('retry-after', '2');
  // Errors before routing skip the hook that sets it.
  reply.header('x-request-id', request.id);
  return reply.code(problem.status).type('application/problem+json').serializer(JSON.stringify).send(problem);
}

/**
 * An error thrown while another is translated would get Fastify's own answer, which is not a
 * problem.
 */
function toProblemSafely(error: FastifyError, request: FastifyRequest): ProblemError | null {
  try {
    return toProblem(error, request);
  } catch (failure) {
    request.log.error({ err: failure }, 'error could not be translated to a problem');
    return null;
  }
}

/** The problem of an error of Fastify, storage or Redis; null: unexpected. */
function toProblem(error: FastifyError, request: FastifyRequest): ProblemError | null {
  const problem =
    validationProblem(error, request) ?? requestProblem(error, request) ?? outageProblem(error, request);
  if (problem) return problem;
  const { statusCode = 500 } = error;
  return statusCode >= 400 && statusCode < 500 ? new ProblemError('bad-request', error.message) : null;
}

function validationProblem(
  { validation, validationContext }: FastifyError,
  { jsonText }: FastifyRequest,
): ProblemError | null {
  if (!validation) return null;
  const text = validationContext === 'body' ? jsonText : undefined;
  const errors = validation.slice(0, MAX_ERRORS).map((error) => describeValidation(error, text));
  const sentences = errors.map(({ pointer, message }) => `${pointer || 'The body'} ${message}`);
  const place = validationContext === 'body' ? '' : ` in the ${validationContext}`;
  return new ProblemError('bad-request', `${sentences.join('; ')}${place}.`, errors);
}

/** What Fastify refuses before a route runs. */
function requestProblem({ code }: FastifyError, request: FastifyRequest): ProblemError | null {
  switch (code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new ProblemError(
        'unsupported-media-type',
        `The content type is ${quote(request.headers['content-type'])}. ` +
          'This address takes application/json; ' +
          'policy files go to POST /v1/policies as application/octet-stream.',
      );
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new ProblemError(
        'too-large',
        `The body is larger than ${request.routeOptions.bodyLimit} bytes, the limit of this address ` +
          '(FINDERY_BODY_LIMIT for JSON, FINDERY_IMPORT_LIMIT for policy files).',
      );
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new ProblemError(
        'invalid-json',
        'The body is empty, but its content type is application/json. Send a JSON object.',
      );
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new ProblemError('bad-request', 'The length of the body differs from its Content-Length.');
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new ProblemError('not-found', 'There is nothing here: an id has at most 128 characters.');
    case 'FST_ERR_BAD_URL':
      return new ProblemError(
        'bad-request',
        `The path ${quote(request.url)} can't be decoded. Write "%" as %25, and UTF-8 bytes as %XX.`,
      );
    default:
      return null;
  }
}

/** Storage or Redis is away or full. The log has the cause, which may name hosts and folders. */
function outageProblem(error: FastifyError, { log }: FastifyRequest): ProblemError | null {
  if (error instanceof BlobStoreError) {
    log.error({ err: error }, 'storage failed');
    return new ProblemError(
      'unavailable',
      error instanceof StorageFullError
        ? 'Storage is full, so nothing was stored. Try again when the operator has freed space.'
        : 'Storage does not answer at the moment, so nothing was stored. Try again in a few seconds.',
    );
  }
  if (error instanceof RecordVersionError) return new ProblemError('unavailable', error.message);
  if (isRedisFull(error)) {
    log.error({ err: error }, 'Redis refuses writes');
    return new ProblemError(
      'unavailable',
      'Redis is full, so nothing was stored. Try again when the operator has freed memory or disk space.',
    );
  }
  if (!isRedisAway(error)) return null;
  return new ProblemError(
    'unavailable',
    'Redis does not answer at the moment. Try again in a few seconds; ' +
      'requests with the same Idempotency-Key create one job.',
  );
}

function quote(text: string | undefined): string {
  return text === undefined ? 'missing' : `"${text.slice(0, 80)}"`;
}

/** Redis is out of memory, or its disk is full. */
export function isRedisFull(error: Error): boolean {
  return /^(?:OOM|MISCONF) /.test(error.message);
}

function isRedisAway(error: Error): boolean {
  return (
    error.name === 'MaxRetriesPerRequestError' ||
    /ECONNREFUSED|ECONNRESET|Connection is closed|Command timed out/.test(error.message) ||
    /LOADING|READONLY|NOREPLICAS/.test(error.message)
  );
}
