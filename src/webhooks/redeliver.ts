import { ProblemError } from '../contract/problem.ts';
import type { DeliveryRecord, WebhookStore } from './webhook-store.ts';

/**
 * Delivers once more, now, with the same `webhook-id`: a new round of attempts of one that has ended, the next attempt of one
 * that waits for it.
 * @throws ProblemError `gone` when its body is no longer kept
 */
export async function redeliver(webhooks: WebhookStore, id: string): Promise<DeliveryRecord> {
  const delivery = await webhooks.deliveries.get(id);
  if ((await webhooks.body(delivery.eventId)) === null)
    throw new ProblemError('gone', `The body of ${id} is no longer kept, so it can't be sent again.`);
  if (delivery.status === 'pending') {
    await webhooks.queue.hurry(id, delivery.round);
    return delivery;
  }
  const round = delivery.round + 1;
  // Queued by way of the outbox: a crash after this change changes nothing.
  const set = {
    status: 'pending' as const,
    round,
    finishedAt: null,
    nextAttemptAt: new Date().toISOString(),
  };
  const outcome = await webhooks.deliveries.change(id, {
    set,
    statuses: [delivery.status],
    notice: { type: 'deliver', id, round },
  });
  // Otherwise somebody else has asked for the same at the same time.
  return outcome === 'done' ? { ...delivery, ...set } : webhooks.deliveries.get(id);
}
