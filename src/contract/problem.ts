import type { Problem } from './schemas/common.ts';

/** All kinds of problems: HTTP status and title, by the `code` that programs can rely on. */
export const PROBLEMS = {
  'bad-request': { status: 400, title: 'The request is malformed' },
  'invalid-json': { status: 400, title: 'The body is not JSON' },
  unauthorized: { status: 401, title: 'A valid key is required' },
  forbidden: { status: 403, title: 'The key does not allow this' },
  'not-found': { status: 404, title: 'Not found' },
  'method-not-allowed': { status: 405, title: 'The address does not support this method' },
  'not-acceptable': { status: 406, title: 'The resource does not exist in an accepted format' },
  'too-slow': { status: 408, title: 'The request took too long to arrive' },
  conflict: { status: 409, title: 'The current state does not allow this' },
  gone: { status: 410, title: 'The record was deleted' },
  'too-large': { status: 413, title: 'The body is too large' },
  'unsupported-media-type': { status: 415, title: 'The content type is not supported' },
  'range-not-satisfiable': { status: 416, title: 'The range lies outside the file' },
  'expectation-failed': { status: 417, title: 'The expectation is not supported' },
  'not-possible': { status: 422, title: 'The request is valid, but cannot be carried out' },
  'unknown-model': { status: 422, title: 'No such model' },
  'unknown-reward': { status: 422, title: 'No such reward' },
  'unknown-optimizer': { status: 422, title: 'No such optimizer' },
  'unknown-scheduler': { status: 422, title: 'No such scheduler' },
  'broken-bundle': { status: 422, title: 'The bundle is damaged' },
  'bad-policy-file': { status: 422, title: 'The policy file cannot be used' },
  'idempotency-mismatch': { status: 422, title: 'The idempotency key belongs to another request' },
  'headers-too-large': { status: 431, title: 'The headers are too large' },
  'rate-limited': { status: 429, title: 'Too many requests' },
  'quota-exceeded': { status: 429, title: 'The tenant has reached a limit' },
  'generation-failed': { status: 500, title: 'Making pictures or rewards failed' },
  'out-of-memory': { status: 500, title: 'There is not enough memory' },
  'reward-failed': { status: 502, title: 'A reward service returned no scores' },
  'worker-lost': { status: 500, title: 'Workers crashed while running this' },
  damaged: { status: 500, title: 'Stored bytes are damaged' },
  internal: { status: 500, title: 'Internal error' },
  unavailable: { status: 503, title: 'The service is unavailable' },
} as const satisfies Record<string, { status: number; title: string }>;

/** Stable word for a kind of problem. */
export type ProblemCode = keyof typeof PROBLEMS;

/**
 * An error for the client: it becomes a problem object (RFC 9457), in a response or in a failed
 * job.
 */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  readonly code: ProblemCode;
  readonly errors: Problem['errors'];
  /** Seconds after which the request can be repeated; undefined when that is not known. */
  readonly retryAfter: number | undefined;

  /**
   * @param code the kind of problem
   * @param detail what was wrong, what is accepted, what to do
   * @param errors values of the request that are wrong, by JSON pointers
   * @param retryAfter seconds after which the request can be repeated
   */
  constructor(code: ProblemCode, detail: string, errors?: Problem['errors'], retryAfter?: number) {
    super(detail);
    this.code = code;
    this.errors = errors;
    this.retryAfter = retryAfter;
  }
}

/**
 * The problem object of an error. Errors that are not for clients become `internal`, without their
 * message.
 */
export function problemOf(error: unknown, requestId?: string): Problem {
  const known = error instanceof ProblemError ? error : null;
  const code: ProblemCode = known ? known.code : 'internal';
  return {
    type: `/problems/${code}`,
    title: PROBLEMS[code].title,
    status: PROBLEMS[code].status,
    detail: known
      ? known.message
      : 'An unexpected error occurred; the log has its cause under the id of the request or job.',
    code,
    ...(known?.errors ? { errors: known.errors } : {}),
    ...(requestId ? { requestId } : {}),
  };
}
