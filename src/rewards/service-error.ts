import { isObject } from '../core/is-object.ts';

/** An error that a service reports inside of an answer with status 200, as some gateways do. */
export interface ReportedError {
  /** The error as the service reports it. */
  readonly error: unknown;
  /** Whether a later try may have none. */
  readonly isTransient: boolean;
}

/** Words of errors without a status that may pass. */
const TRANSIENT_WORDS = new RegExp(
  'rate.?limit|too many|overload|capacity|unavailable|time.?out|timed out|loading|try again|' +
    'temporar|busy|internal.?error|server.?error',
  'i',
);

/** Whether a later try may get another status. */
export function isTransientStatus(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || (status >= 500 && status < 600);
}

/**
 * The error inside of an answer with status 200; null if there is none. An answer that also has
 * `scores` or choices with a message is no error.
 */
export function reportedError(answer: unknown): ReportedError | null {
  if (!isObject(answer) || 'scores' in answer) return null;
  const choice: unknown = Array.isArray(answer.choices) ? answer.choices[0] : null;
  const inChoice = isObject(choice) ? choice.error : undefined;
  const isErrorItself = answer.object === 'error' || answer.type === 'error';
  const error = inChoice ?? (isObject(choice) ? null : (answer.error ?? (isErrorItself ? answer : null)));
  if (error === null || error === undefined || error === false) return null;
  const status = statusOf(error) ?? statusOf(answer);
  const isTransient =
    status === null ? TRANSIENT_WORDS.test(JSON.stringify(error)) : isTransientStatus(status);
  return { error, isTransient };
}

function statusOf(error: unknown): number | null {
  if (!isObject(error)) return null;
  const statuses = [error.code, error.status, error.status_code, error.statusCode].map(Number);
  return statuses.find((status) => status >= 400 && status < 600) ?? null;
}

/**
 * What the body of an error answer says: its message where it is JSON with one (OpenAI's `error`,
 * RFC 9457's `detail`, plain `message`), else the body itself.
 */
export function errorMessage(body: string): string {
  let answer: unknown;
  try {
    answer = JSON.parse(body);
  } catch {
    return body;
  }
  if (!isObject(answer)) return body;
  const error = isObject(answer.error) ? answer.error.message : answer.error;
  return [error, answer.detail, answer.message].find((text) => typeof text === 'string') ?? body;
}
