import { decodeTime } from 'ulid';
import { RETENTION_DAYS, type WebhookStore } from './store.ts';

/**
 * Number of deliveries of a tenant above which the oldest ended ones are removed. Pending ones
 * stay.
 */
export const MAX_DELIVERIES = 10_000;

/**
 * Removes ended deliveries: those older than `RETENTION_DAYS`, and the oldest of each tenant beyond
 * `limit`. The body of an event goes with its last delivery, so a tenant's bodies have a limit too.
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
  const discarded = new Set<string>();
  const kept = new Set<string>();
  /** Time of the first delivery that stays; others of its event have the same time. */
  let keptTime = '';
  for await (const delivery of deliveries.oldestFirst()) {
    const { id, status, eventId } = delivery;
    const isOld = decodeTime(id.slice('dlv_'.length).toUpperCase()) < oldest;
    if (!isOld && count >= surplus) {
      keptTime = timeOf(eventId);
      break;
    }
    if (status === 'pending') {
      kept.add(eventId);
      continue;
    }
    await deliveries.discard(id);
    await webhooks.markSettled(delivery); // in case the process that ended it died before its own call
    discarded.add(eventId);
    count++;
  }
  for (const event of discarded)
    if (!kept.has(event) && timeOf(event) !== keptTime) await webhooks.removeBody(event);
  return count;
}

/** The time in the id of an event, which its deliveries share (10 digits of a ULID). */
function timeOf(eventId: string): string {
  return eventId.slice('evt_'.length, 'evt_'.length + 10);
}
