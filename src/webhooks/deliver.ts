import type { Logger } from 'pino';
import type { AllowedTargets } from '../config/allowed-targets.ts';
import type { DeliveryAttempt } from '../contract/schemas/webhook-endpoint.ts';
import type { ConcurrencyLimiter } from './concurrency-limiter.ts';
import { noteHealth } from './health.ts';
import type { Resolve } from './resolve-target.ts';
import { retryDelay } from './retry-delays.ts';
import { signedHeaders } from './secrets.ts';
import { type SendResult, send } from './send.ts';
import { type DeliveryRecord, SECRETS, type SigningSecret, type WebhookStore } from './webhook-store.ts';

/** Milliseconds that an attempt may take. */
const TIMEOUT = 15_000;
/** Attempts that a delivery shows. */
const MOST_SHOWN = 20;

/** Thrown to the queue: another attempt after a pause. */
export class TryAgain extends Error {
  override readonly name = 'TryAgain';
  /** Milliseconds. */
  readonly pause: number;

  constructor(pause: number, reason: string) {
    super(reason);
    this.pause = pause;
  }
}

/** Thrown to the queue: no attempt was made, for its receiver is slow, or its tenant has enough under way; come again after a pause. */
export class HeldBack extends Error {
  override readonly name = 'HeldBack';
  readonly reason: 'slow' | 'full';

  constructor(reason: 'slow' | 'full') {
    super(reason);
    this.reason = reason;
  }
}

export interface DeliveryContext {
  readonly webhooks: WebhookStore;
  readonly allowed: AllowedTargets;
  readonly resolve: Resolve;
  readonly lanes: ConcurrencyLimiter;
  /** Seconds before the second attempt. */
  readonly firstPause: number;
  readonly logger: Logger;
  /** Aborted when the process is to end. */
  readonly closing: AbortSignal;
}

/**
 * One attempt of a delivery, and its line in the delivery's log.
 * @param attempt of this round, 1 for the first
 * @throws TryAgain when it is to be tried again; HeldBack when others go first; the reason of `closing` when it was broken off: then it was none
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
  const route = await findRoute(webhooks, delivery);
  const outcome = await go(context, delivery, route, now);
  if (closing.aborted && outcome.error !== null) throw closing.reason;

  const { status, error } = outcome;
  const made: DeliveryAttempt = {
    at: now.toISOString(),
    milliseconds: Math.round(performance.now() - began),
    status,
    error,
  };
  const isOver = error === null || isLast || 'refused' in route || status === 410;
  const pause = retryDelay(attempt, {
    first: context.firstPause,
    retryAfter: outcome.retryAfter,
    random: Math.random(),
  });
  // First: were the process to die in between, it would count as waiting for ever.
  if (isOver) await webhooks.settled(delivery);
  await webhooks.deliveries.change(id, {
    set: {
      attempts: [...delivery.attempts, made].slice(-MOST_SHOWN),
      attemptCount: delivery.attemptCount + 1,
      status: error === null ? 'succeeded' : isOver ? 'failed' : 'pending',
      finishedAt: isOver ? new Date().toISOString() : null,
      nextAttemptAt: isOver ? null : new Date(Date.now() + pause).toISOString(),
    },
    statuses: ['pending'],
  });
  // Paths and queries of addresses often hold tokens: the log has neither.
  const line = {
    deliveryId: id,
    eventId: delivery.eventId,
    endpointId: delivery.endpointId,
    attempt,
    status,
  };
  if (error === null) logger.info(line, 'webhook delivered');
  else logger.warn({ ...line, isOver }, `webhook not delivered: ${error}`);
  await noteHealth(webhooks, delivery, { status, error, isGivenUp: isLast, at: now, logger });
  if (!isOver) throw new TryAgain(pause, error ?? '');
}

/** Sends it, unless there is nowhere to go, or the receiver is to be spared. */
async function go(
  context: DeliveryContext,
  { tenant, eventId }: DeliveryRecord,
  route: Route,
  now: Date,
): Promise<SendResult> {
  if ('refused' in route) return { status: null, error: route.refused, retryAfter: null };
  const { url, body, secrets } = route;
  const leave = await context.lanes.enter(tenant, new URL(url).host);
  if (typeof leave === 'string') throw new HeldBack(leave);
  try {
    const headers = signedHeaders(eventId, body, secrets, now);
    return await send(url, body, headers, { ...context, timeout: TIMEOUT, signal: context.closing });
  } finally {
    leave();
  }
}

type Route =
  | { readonly url: string; readonly body: string; readonly secrets: readonly SigningSecret[] }
  /** There is nowhere to go any more, or nothing to say. */
  | { readonly refused: string };

/** Where it goes by now: an endpoint may have moved, or have another secret, since it was written. */
async function findRoute(webhooks: WebhookStore, delivery: DeliveryRecord): Promise<Route> {
  const { endpointId } = delivery;
  const body = await webhooks.body(delivery.eventId);
  if (body === null) return { refused: 'its body is no longer kept' };
  if (endpointId === null) {
    const secrets = (await webhooks.deliveries.hidden<SigningSecret[]>(delivery.id, SECRETS)) ?? [];
    return { url: delivery.url, body, secrets };
  }
  const { endpoints } = webhooks.of(delivery.tenant);
  const endpoint = await endpoints.find(endpointId);
  if (!endpoint) return { refused: 'the endpoint was deleted' };
  if (!endpoint.enabled) return { refused: 'the endpoint is disabled' };
  const secrets = (await endpoints.hidden<SigningSecret[]>(endpointId, SECRETS)) ?? [];
  return { url: endpoint.url, body, secrets };
}
