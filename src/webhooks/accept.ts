import { ProblemError } from '../jobs/problem.ts';
import { JOB_EVENTS, type JobWebhookRequest } from '../jobs/schemas/webhook.ts';
import type { AcceptedWebhook } from '../jobs/submit.ts';
import { Allowed } from './allowed.ts';
import { takeSecret } from './secrets.ts';
import { checkUrl, ForbiddenTargetError, type Resolve, resolveTarget } from './target.ts';

/**
 * Takes the `webhook` of a job's request. Names are not looked up here (a request would wait for somebody's name server); every
 * attempt looks.
 * @throws ProblemError `not-possible` when the URL is none that may be called, `bad-request` when the secret is none
 */
export function acceptJobWebhook(request: JobWebhookRequest, allow: readonly string[]): AcceptedWebhook {
  const url = refuseWell('/webhook/url', () => checkUrl(request.url, new Allowed(allow)).href);
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
export async function acceptEndpointUrl(text: string, allow: readonly string[], resolve: Resolve): Promise<string> {
  const allowed = new Allowed(allow);
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
