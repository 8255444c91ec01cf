import { decodeTime } from 'ulid';
import { RETENTION_DAYS, type WebhookStore } from './store.ts';

/**
 * Number of deliveries of a tenant above which the oldest ended ones are removed. Pending ones
 * stay.
 */
export const MAX_DELIVERIES = 10_000;

/**
 * Removes ended deliveries: those older than `RETENTION_DAYS`, and the oldest of each tenant beyond
 * `limit`.
 * @param now milliseconds since 1970
 * @returns how many were removed
 */
export async function trimDeliveries(
  webhooks: WebhookStore,
  now: number,
  limit = MAX_DELIVERIES,
): Promise<number> {
  let count = 0;
  for (const tenant of await webhooks.tenants())
    count += await trimTenant(webhooks.forTenant(tenant), now, limit);
  return count;
}

async function trimTenant(webhooks: WebhookStore, now: number, limit: number): Promise<number> {
  const { deliveries } = webhooks;
  const surplus = Math.max(0, (await deliveries.count()) - limit);
  const oldest = now - RETENTION_DAYS * 86_400_000;
  let count = 0;
  for await (const delivery of deliveries.oldestFirst()) {
    const { id, status } = delivery;
    const isOld = decodeTime(id.slice('dlv_'.length).toUpperCase()) < oldest;
    if (!isOld && count >= surplus) break;
    if (status === 'pending') continue;
    await deliveries.discard(id);
    await webhooks.markSettled(delivery); // in case the process that ended it died before its own call
    count++;
  }
  return count;
}
