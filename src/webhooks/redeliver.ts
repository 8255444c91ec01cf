import { ProblemError } from '../contract/problem.ts';
import { requeueLost } from './requeue-lost.ts';
import type { DeliveryRecord, WebhookStore } from './store.ts';

/**
 * Delivers an event again now, with the same `webhook-id`. An ended delivery gets a new round of
 * attempts; a pending one makes its next attempt at once.
 * @throws ProblemError `not-found` when there is no such delivery, `gone` when its body has expired
 */
export async function redeliver(webhooks: WebhookStore, id: string): Promise<DeliveryRecord> {
  const delivery = await webhooks.deliveries.get(id);
  if ((await webhooks.body(delivery.eventId)) === null)
    throw new ProblemError('gone', `The body of ${id} has expired, so it can't be sent again.`);
  if (delivery.status === 'pending') {
    if (!(await webhooks.queue.expedite(id, delivery.round))) await requeueLost(webhooks, id);
    return webhooks.deliveries.get(id);
  }
  const round = delivery.round + 1;
  // The outbox queues it, so a crash after this change loses nothing.
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
  // With another outcome, another client requested the same redelivery at the same time.
  return outcome === 'done' ? { ...delivery, ...set } : webhooks.deliveries.get(id);
}
