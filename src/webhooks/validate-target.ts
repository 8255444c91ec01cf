import { AllowedTargets } from '../config/allowed-targets.ts';
import { ProblemError } from '../contract/problem.ts';
import { JOB_EVENTS, type JobWebhook, type JobWebhookRequest } from '../contract/schemas/webhook.ts';
import { checkUrl, ForbiddenTargetError, type Resolve, resolveTarget } from './resolve-target.ts';
import { takeSecret } from './secrets.ts';
import type { SigningSecret } from './webhook-store.ts';

/** Who is told of a job, and what signs. */
export interface ValidatedWebhook {
  readonly webhook: JobWebhook;
  readonly secrets: readonly SigningSecret[];
}

/**
 * Takes the `webhook` of a job's request. Names are not looked up here (a request would wait for somebody's name server); every
 * attempt looks.
 * @throws ProblemError `not-possible` when the URL is none that may be called, `bad-request` when the secret is none
 */
export function validateJobWebhook(request: JobWebhookRequest, allow: readonly string[]): ValidatedWebhook {
  const url = refuseWell('/webhook/url', () => checkUrl(request.url, new AllowedTargets(allow)).href);
  const secret = takeSecret(request.secret, '/webhook/secret');
  return {
    webhook: { url, events: request.events ?? [...JOB_EVENTS] },
    secrets: [{ secret, validUntil: null }],
  };
}

/** Milliseconds that creating an endpoint waits for the name of its host. */
const PATIENCE = 3000;

/**
 * The URL of an endpoint, as it will be called. Its host is looked up: what leads to a forbidden address is refused; that it has
 * none (yet) is not for here to say.
 * @throws ProblemError `not-possible` when it is none that may be called
 */
export async function validateEndpointUrl(
  text: string,
  allow: readonly string[],
  resolve: Resolve,
): Promise<string> {
  const allowed = new AllowedTargets(allow);
  const { href } = refuseWell('/url', () => checkUrl(text, allowed));
  const found = resolveTarget(href, allowed, resolve).then(
    () => null,
    (error: unknown) => (error instanceof ForbiddenTargetError ? error : null),
  );
  const patience = new Promise<null>((over) => setTimeout(over, PATIENCE, null).unref());
  const error = await Promise.race([found, patience]);
  if (error)
    refuseWell('/url', () => {
      throw error;
    });
  return href;
}

function refuseWell<T>(pointer: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof ForbiddenTargetError)) throw error;
    throw new ProblemError('not-possible', error.message, [{ pointer, message: error.message }]);
  }
}
