import { AllowedTargets } from '../config/allowed-targets.ts';
import { ProblemError } from '../contract/problem.ts';
import { JOB_EVENTS, type JobWebhook, type JobWebhookRequest } from '../contract/schemas/webhook.ts';
import { checkUrl, ForbiddenTargetError, type Resolve, resolveTarget } from './resolve-target.ts';
import { resolveSecret } from './secrets.ts';
import type { SigningSecret } from './store.ts';

/** The validated webhook of a job, and the secrets that sign its deliveries. */
export interface ValidatedWebhook {
  readonly webhook: JobWebhook;
  readonly secrets: readonly SigningSecret[];
}

/**
 * Validates the `webhook` of a job's request. The host is not resolved here, because the request
 * would wait for a name server; every attempt resolves it.
 * @param allow entries of FINDERY_WEBHOOK_ALLOW
 * @throws ProblemError `not-possible` when the URL is forbidden, `bad-request` when the secret is
 *   not valid
 */
export function validateJobWebhook(request: JobWebhookRequest, allow: readonly string[]): ValidatedWebhook {
  const url = toProblem('/webhook/url', () => checkUrl(request.url, new AllowedTargets(allow)).href);
  const secret = resolveSecret(request.secret, '/webhook/secret');
  return {
    webhook: { url, events: request.events ?? [...JOB_EVENTS] },
    secrets: [{ secret, validUntil: null }],
  };
}

/** How long the creation of an endpoint waits for its host to be resolved. */
const LOOKUP_TIMEOUT_MS = 3000;

/**
 * Validates the URL of an endpoint. Its host is resolved, and a host with a forbidden address is
 * rejected. A host without an address is accepted: it may get one later.
 * @param allow entries of FINDERY_WEBHOOK_ALLOW
 * @returns the URL in its normal form, as it will be called
 * @throws ProblemError `not-possible` when the URL is forbidden
 */
export async function validateEndpointUrl(
  text: string,
  allow: readonly string[],
  resolve: Resolve,
): Promise<string> {
  const allowed = new AllowedTargets(allow);
  const { href } = toProblem('/url', () => checkUrl(text, allowed));
  const forbidden = resolveTarget(href, allowed, resolve).then(
    () => null,
    (error: unknown) => (error instanceof ForbiddenTargetError ? error : null),
  );
  const timeout = new Promise<null>((resolve) => setTimeout(resolve, LOOKUP_TIMEOUT_MS, null).unref());
  const error = await Promise.race([forbidden, timeout]);
  if (error)
    toProblem('/url', () => {
      throw error;
    });
  return href;
}

function toProblem<T>(pointer: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof ForbiddenTargetError)) throw error;
    throw new ProblemError('not-possible', error.message, [{ pointer, message: error.message }]);
  }
}
