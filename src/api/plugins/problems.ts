import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { ProblemError, problemOf } from '../../contract/problem.ts';
import { RecordVersionError } from '../../records/migrations.ts';
import { BlobStoreError, StorageFullError } from '../../storage/blobs.ts';
import { describeValidation } from './validation.ts';

/** Places of one request that are told; a body can be wrong in thousands. */
const MOST_ERRORS = 20;

/** Every error leaves as application/problem+json (RFC 9457). */
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
  // Before its body is read: what is sent to no address is nothing to look into.
  app.addHook('onRequest', (request, reply, done) => {
    if (request.is404) tellWhereNothingIs(request, reply);
    else done();
  });
  app.setNotFoundHandler(tellWhereNothingIs);

  function tellWhereNothingIs(request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const [path] = request.url.split('?');
    const allowed = [
      ...new Set(routes.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => methods)),
    ];
    if (allowed.length > 0) {
      reply.header('allow', allowed.join(', '));
      return sendProblem(
        new ProblemError(
          'method-not-allowed',
          `${request.method} ${path} is not possible; this address takes ${allowed.join(', ')}.`,
        ),
        request,
        reply,
      );
    }
    return sendProblem(
      new ProblemError('not-found', `There is nothing at ${path.slice(0, 200)}. /docs lists what there is.`),
      request,
      reply,
    );
  }
});

/** Answers with the problem that `error` is; an unexpected one is logged and told as `internal`. */
export function sendProblem(
  error: FastifyError | ProblemError,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const known = error instanceof ProblemError ? error : translateSafely(error, request);
  if (!known) request.log.error({ err: error }, 'request failed');
  const problem = problemOf(known ?? error, request.id);
  if (known?.retryAfter !== undefined) reply.header('retry-after', String(known.retryAfter));
  else if (problem.status === 503) reply.header('retry-after', '2');
  // Errors before routing come past the hook that sets it.
  reply.header('x-request-id', request.id);
  return reply.code(problem.status).type('application/problem+json').serializer(JSON.stringify).send(problem);
}

/** What fails while an error is put into words is unexpected too, and not left to fastify, whose answer is no problem. */
function translateSafely(error: FastifyError, request: FastifyRequest): ProblemError | null {
  try {
    return translate(error, request);
  } catch (failure) {
    request.log.error({ err: failure }, 'an error could not be told');
    return null;
  }
}

/** Fastify's and ioredis' errors as problems; null: unexpected. */
function translate(error: FastifyError, request: FastifyRequest): ProblemError | null {
  if (error.validation) {
    const errors = error.validation.slice(0, MOST_ERRORS).map(describeValidation);
    const where = error.validationContext === 'body' ? '' : ` in the ${error.validationContext}`;
    return new ProblemError(
      'bad-request',
      `${errors.map(({ pointer, message }) => `${pointer || 'The body'} ${message}`).join('; ')}${where}.`,
      errors,
    );
  }
  switch (error.code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new ProblemError(
        'unsupported-media-type',
        `The content type is ${given(request.headers['content-type'])}. This address takes application/json; policy files go to POST /v1/policies as application/octet-stream.`,
      );
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new ProblemError(
        'too-large',
        `The body is larger than the ${request.routeOptions.bodyLimit} bytes that this address takes (FINDERY_BODY_LIMIT for JSON, FINDERY_IMPORT_LIMIT for policy files).`,
      );
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new ProblemError(
        'invalid-json',
        'The body is empty, but its content type is application/json. Send a JSON object.',
      );
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new ProblemError('bad-request', 'The body is not as long as content-length says.');
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new ProblemError('not-found', 'There is nothing here: an id has at most 128 characters.');
    case 'FST_ERR_BAD_URL':
      return new ProblemError(
        'bad-request',
        `The path ${given(request.url)} can't be decoded; "%" is written as %25, and every %XX is a byte of UTF-8.`,
      );
  }
  if (error instanceof BlobStoreError) {
    // Which folder or bucket it is, and what the system said, is for the log.
    request.log.error({ err: error }, 'storage failed');
    return new ProblemError(
      'unavailable',
      error instanceof StorageFullError
        ? 'Storage is full: nothing was kept. The operator has to make room; try again then.'
        : 'Storage does not answer at the moment: nothing was kept. Try again in a few seconds.',
    );
  }
  if (error instanceof RecordVersionError) return new ProblemError('unavailable', error.message);
  if (isRedisFull(error)) {
    request.log.error({ err: error }, 'Redis takes nothing');
    return new ProblemError(
      'unavailable',
      'Redis takes nothing at the moment: nothing was kept. The operator has to make room; try again then.',
    );
  }
  if (isRedisAway(error))
    return new ProblemError(
      'unavailable',
      'Redis does not answer at the moment. Try again in a few seconds; what is sent again with the same Idempotency-Key is done once.',
    );
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500)
    return new ProblemError('bad-request', error.message);
  return null;
}

/** What a client sent, for a message. */
function given(text: string | undefined): string {
  return text === undefined ? 'missing' : `"${text.slice(0, 80)}"`;
}

/** Out of memory, or its disk is full. */
function isRedisFull(error: Error): boolean {
  return /^(?:OOM|MISCONF) /.test(error.message);
}

function isRedisAway(error: Error): boolean {
  return (
    error.name === 'MaxRetriesPerRequestError' ||
    /ECONNREFUSED|ECONNRESET|Connection is closed|Command timed out|LOADING|READONLY/.test(error.message)
  );
}
