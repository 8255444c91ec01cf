import { decodeTime } from 'ulid';
import { KEPT_DAYS, type WebhookStore } from './webhook-store.ts';

/** Most deliveries of a tenant that are kept once they have ended; those that wait for an attempt are kept in any case. */
export const MAX_DELIVERIES = 10_000;

/**
 * Forgets deliveries that have ended: those older than KEPT_DAYS, and each tenant's oldest beyond `most`.
 * @param now milliseconds
 * @returns how many
 */
export async function trimDeliveries(
  webhooks: WebhookStore,
  now: number,
  most = MAX_DELIVERIES,
): Promise<number> {
  let count = 0;
  for (const tenant of await webhooks.tenants()) count += await trimOwn(webhooks.of(tenant), now, most);
  return count;
}

async function trimOwn(webhooks: WebhookStore, now: number, most: number): Promise<number> {
  const { deliveries } = webhooks;
  const surplus = Math.max(0, (await deliveries.count()) - most);
  const oldest = now - KEPT_DAYS * 86_400_000;
  let count = 0;
  for await (const delivery of deliveries.fromOldest()) {
    const { id, status } = delivery;
    const isOld = decodeTime(id.slice('dlv_'.length).toUpperCase()) < oldest;
    if (!isOld && count >= surplus) break;
    if (status === 'pending') continue;
    await deliveries.discard(id);
    await webhooks.settled(delivery); // a process may have died before it said so
    count++;
  }
  return count;
}
