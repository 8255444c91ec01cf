import type { WebhookStore } from './store.ts';

/**
 * A delivery that is pending is in the queue, or an attempt of it is under way. A process that dies
 * between the record and the queue, or a Redis that pauses at the end of the last attempt, leaves a
 * pending delivery without an entry, which nothing would attempt. These functions queue it again.
 */

/** Deliveries that are checked at the same time. */
const BATCH_SIZE = 100;

/**
 * Queues a delivery again that is pending and in no queue. Its round begins again.
 * @returns whether it was queued
 */
export async function requeueLost(webhooks: WebhookStore, id: string): Promise<boolean> {
  const delivery = await webhooks.deliveries.find(id);
  if (delivery?.status !== 'pending') return false;
  const { round, type } = delivery;
  if (await webhooks.queue.has(id, round)) return false;
  // The record is changed before the entry is dropped, so only a record that is still pending was
  // lost.
  const current = await webhooks.deliveries.find(id);
  if (current?.status !== 'pending' || current.round !== round) return false;
  await webhooks.enqueue(current, round, type === 'webhook.test' ? 1 : undefined);
  return true;
}

/**
 * Queues the lost ones among the waiting deliveries of all tenants, and forgets waiting deliveries
 * that have ended. It reads every waiting delivery, so call it about once a minute.
 * @returns how many were queued
 */
export async function requeueWaiting(webhooks: WebhookStore): Promise<number> {
  let count = 0;
  for (const tenant of await webhooks.tenants()) {
    const own = webhooks.forTenant(tenant);
    for await (const ids of webhooks.waiting(tenant)) {
      count += await requeueAll(own, ids);
      for (const id of ids)
        if ((await own.deliveries.find(id))?.status !== 'pending') await webhooks.markSettled({ id, tenant });
    }
  }
  return count;
}

/**
 * Queues the lost ones among all deliveries. It reads every delivery, so call it once, when a
 * process starts.
 * @returns how many were queued
 */
export async function requeueAllLost(webhooks: WebhookStore): Promise<number> {
  let count = 0;
  for await (const ids of webhooks.deliveries.idsByStatus(['pending']))
    count += await requeueAll(webhooks, ids);
  return count;
}

async function requeueAll(webhooks: WebhookStore, ids: readonly string[]): Promise<number> {
  let count = 0;
  for (let i = 0; i < ids.length; i += BATCH_SIZE) {
    const batch = ids.slice(i, i + BATCH_SIZE).map((id) => requeueLost(webhooks, id));
    count += (await Promise.all(batch)).filter(Boolean).length;
  }
  return count;
}
