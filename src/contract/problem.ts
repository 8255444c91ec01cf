import type { Problem } from './schemas/common.ts';

/** Every kind of problem that a client can meet: its status and its title. `code` is stable, for programs. */
export const PROBLEMS = {
  'bad-request': { status: 400, title: 'The request is malformed' },
  'invalid-json': { status: 400, title: 'The body is not JSON' },
  unauthorized: { status: 401, title: 'A key is needed' },
  forbidden: { status: 403, title: 'The key does not allow this' },
  'not-found': { status: 404, title: 'There is nothing here' },
  'method-not-allowed': { status: 405, title: 'This address does not take that method' },
  'not-acceptable': { status: 406, title: 'This cannot be had in that form' },
  'too-slow': { status: 408, title: 'The request came too slowly' },
  conflict: { status: 409, title: 'The state does not allow this' },
  gone: { status: 410, title: 'This was deleted' },
  'too-large': { status: 413, title: 'The body is too large' },
  'unsupported-media-type': { status: 415, title: 'This content type is not read here' },
  'range-not-satisfiable': { status: 416, title: 'The range lies outside' },
  'expectation-failed': { status: 417, title: 'This expectation is not met' },
  'not-possible': { status: 422, title: 'Understood, but not possible' },
  'unknown-model': { status: 422, title: 'There is no such model' },
  'unknown-reward': { status: 422, title: 'There is no such reward' },
  'unknown-optimizer': { status: 422, title: 'There is no such optimizer' },
  'unknown-scheduler': { status: 422, title: 'There is no such scheduler' },
  'broken-bundle': { status: 422, title: 'The bundle is damaged' },
  'bad-policy-file': { status: 422, title: 'The policy file cannot be used' },
  'idempotency-mismatch': { status: 422, title: 'The idempotency key belongs to another request' },
  'headers-too-large': { status: 431, title: 'The headers are too large' },
  'rate-limited': { status: 429, title: 'Too many requests' },
  'quota-exceeded': { status: 429, title: 'The limit of this tenant is reached' },
  'generation-failed': { status: 500, title: 'Pictures or rewards could not be made' },
  'out-of-memory': { status: 500, title: 'There is not enough memory for this' },
  'reward-failed': { status: 502, title: 'A reward gave no scores' },
  'worker-lost': { status: 500, title: 'Workers died while they ran this' },
  damaged: { status: 500, title: 'Storage holds something else than was stored' },
  internal: { status: 500, title: 'Something failed here' },
  unavailable: { status: 503, title: 'Not ready' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemCode = keyof typeof PROBLEMS;

/** An error that is meant for the client: it becomes a problem object (RFC 9457), in an answer or in a failed job. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  readonly code: ProblemCode;
  readonly errors: Problem['errors'];
  /** Seconds after which it is worth trying again, where that is known. */
  readonly retryAfter: number | undefined;

  /**
   * @param code kind of problem
   * @param detail what was wrong, what is accepted, what to do
   * @param errors places in the request, as JSON pointers
   * @param retryAfter seconds after which it is worth trying again
   */
  constructor(code: ProblemCode, detail: string, errors?: Problem['errors'], retryAfter?: number) {
    super(detail);
    this.code = code;
    this.errors = errors;
    this.retryAfter = retryAfter;
  }
}

/** The problem object of an error; what is not meant for clients is told as `internal`, without its message. */
export function problemOf(error: unknown, requestId?: string): Problem {
  const known = error instanceof ProblemError ? error : null;
  const code: ProblemCode = known ? known.code : 'internal';
  return {
    type: `/problems/${code}`,
    title: PROBLEMS[code].title,
    status: PROBLEMS[code].status,
    detail: known ? known.message : 'An unexpected error; the log has it under the request or job id.',
    code,
    ...(known?.errors ? { errors: known.errors } : {}),
    ...(requestId ? { requestId } : {}),
  };
}
