import type { Logger } from 'pino';
import type { AllowedTargets } from '../config/allowed-targets.ts';
import type { DeliveryAttempt } from '../contract/schemas/webhook-endpoint.ts';
import type { ConcurrencyLimiter } from './concurrency-limiter.ts';
import { updateEndpointHealth } from './health.ts';
import type { Resolve } from './resolve-target.ts';
import { retryDelay } from './retry-schedule.ts';
import { signedHeaders } from './secrets.ts';
import { type SendResult, send } from './send.ts';
import { type DeliveryRecord, SECRETS_FIELD, type SigningSecret, type WebhookStore } from './store.ts';

/** Longest duration of an attempt: resolving the host, connecting and waiting for the answer. */
const ATTEMPT_TIMEOUT_MS = 15_000;
/** Number of attempts that are listed in a delivery; older ones are dropped. */
const MAX_LISTED_ATTEMPTS = 20;

/** Thrown to the queue after a failed attempt: it makes another one after `delayMs`. */
export class RetryLaterError extends Error {
  override readonly name = 'RetryLaterError';
  readonly delayMs: number;

  constructor(delayMs: number, reason: string) {
    super(reason);
    this.delayMs = delayMs;
  }
}

/**
 * Thrown to the queue when no attempt was made: the receiver is slow, or the tenant has too many
 * attempts under way. It does not count as an attempt.
 */
export class PostponedError extends Error {
  override readonly name = 'PostponedError';
  readonly reason: 'slow' | 'full';

  constructor(reason: 'slow' | 'full') {
    super(reason);
    this.reason = reason;
  }
}

/** What deliveries need. */
export interface DeliveryContext {
  readonly webhooks: WebhookStore;
  readonly allowed: AllowedTargets;
  readonly resolve: Resolve;
  readonly limiter: ConcurrencyLimiter;
  /** Seconds before the second attempt. */
  readonly firstRetrySeconds: number;
  readonly logger: Logger;
  /** Aborts when the process ends. */
  readonly closing: AbortSignal;
}

/**
 * Makes one attempt of a delivery and records its outcome. An attempt that `closing` interrupted is
 * not recorded.
 * @param attempt number of the attempt in this round, from 1
 * @param isLast whether the delivery fails for good with this attempt
 * @throws RetryLaterError when another attempt follows, PostponedError when the limiter has no
 *   place, the reason of `closing` when it interrupted the attempt
 */
export async function deliver(
  context: DeliveryContext,
  id: string,
  attempt: number,
  isLast: boolean,
): Promise<void> {
  const { webhooks, logger, closing } = context;
  const delivery = await webhooks.deliveries.find(id);
  if (delivery?.status !== 'pending') return;
  const now = new Date();
  const began = performance.now();
  const destination = await findDestination(webhooks, delivery);
  const outcome = await attemptDelivery(context, delivery, destination, now);
  if (closing.aborted && outcome.error !== null) throw closing.reason;

  const { status, error } = outcome;
  const made: DeliveryAttempt = {
    at: now.toISOString(),
    milliseconds: Math.round(performance.now() - began),
    status,
    error,
  };
  const isOver = error === null || isLast || 'refused' in destination || status === 410;
  const delayMs = retryDelay(attempt, {
    first: context.firstRetrySeconds,
    retryAfter: outcome.retryAfter,
    random: Math.random(),
  });
  await webhooks.deliveries.change(id, {
    set: {
      attempts: [...delivery.attempts, made].slice(-MAX_LISTED_ATTEMPTS),
      attemptCount: delivery.attemptCount + 1,
      status: error === null ? 'succeeded' : isOver ? 'failed' : 'pending',
      finishedAt: isOver ? new Date().toISOString() : null,
      nextAttemptAt: isOver ? null : new Date(Date.now() + delayMs).toISOString(),
    },
    statuses: ['pending'],
  });
  // Settled last: maintenance looks for lost deliveries among those that wait (`requeue-lost.ts`).
  if (isOver) await webhooks.markSettled(delivery);
  // No URL in the log: paths and queries often contain tokens.
  const line = {
    deliveryId: id,
    eventId: delivery.eventId,
    endpointId: delivery.endpointId,
    attempt,
    status,
  };
  if (error === null) logger.info(line, 'webhook delivered');
  else logger.warn({ ...line, isOver }, `webhook not delivered: ${error}`);
  await updateEndpointHealth(webhooks, delivery, { status, error, isGivenUp: isLast, at: now, logger });
  if (!isOver) throw new RetryLaterError(delayMs, error ?? '');
}

/** Sends a delivery. @throws PostponedError when the limiter has no place */
async function attemptDelivery(
  context: DeliveryContext,
  { tenant, eventId }: DeliveryRecord,
  destination: Destination,
  now: Date,
): Promise<SendResult> {
  if ('refused' in destination) return { status: null, error: destination.refused, retryAfter: null };
  const { url, body, secrets } = destination;
  const release = await context.limiter.acquire(tenant, new URL(url).host);
  if (typeof release === 'string') throw new PostponedError(release);
  try {
    const headers = signedHeaders(eventId, body, secrets, now);
    return await send(url, body, headers, {
      ...context,
      timeoutMs: ATTEMPT_TIMEOUT_MS,
      signal: context.closing,
    });
  } finally {
    release();
  }
}

/** Where a delivery goes, or why it is not possible any more. */
type Destination =
  | { readonly url: string; readonly body: string; readonly secrets: readonly SigningSecret[] }
  | { readonly refused: string };

/** Finds the current URL and secrets: those of an endpoint may have changed since the event. */
async function findDestination(webhooks: WebhookStore, delivery: DeliveryRecord): Promise<Destination> {
  const { endpointId } = delivery;
  const body = await webhooks.body(delivery.eventId);
  if (body === null) return { refused: 'its body has expired' };
  if (endpointId === null) {
    const secrets = await webhooks.deliveries.internalField<SigningSecret[]>(delivery.id, SECRETS_FIELD);
    return { url: delivery.url, body, secrets: secrets ?? [] };
  }
  const { endpoints } = webhooks.forTenant(delivery.tenant);
  const endpoint = await endpoints.find(endpointId);
  if (!endpoint) return { refused: 'the endpoint was deleted' };
  if (!endpoint.enabled) return { refused: 'the endpoint is disabled' };
  const secrets = (await endpoints.internalField<SigningSecret[]>(endpointId, SECRETS_FIELD)) ?? [];
  return { url: endpoint.url, body, secrets };
}
