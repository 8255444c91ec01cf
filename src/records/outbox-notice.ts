import { type IdKind, newId } from '../contract/ids.ts';
import type { WebhookEventType } from '../contract/schemas/webhook.ts';

/**
 * Work that has to follow a change of a record. The change writes it into the outbox in the same
 * step, so no crash can separate the two (`webhooks/outbox.ts` takes it from there).
 */
export type Notice =
  /**
   * Deliver an event to the webhooks that asked for it. `id`: of the job or the sample. `at`: RFC
   * 3339.
   */
  | { readonly type: WebhookEventType; readonly event: string; readonly id: string; readonly at: string }
  /** Queue a round of attempts of a delivery. */
  | { readonly type: 'deliver'; readonly id: string; readonly round: number };

/** Message on the channel of changes, in place of an id, that the outbox has a new notice. */
export const OUTBOX_CHANGED = 'outbox';

/**
 * Time to live of the copy of a record that is written with a notice. A notice that nobody
 * dispatches for longer is dispatched with the record as it is then.
 */
export const SNAPSHOT_SECONDS = 8 * 86_400;

/** Statuses that are webhook events, by kind of record. */
const EVENT_STATUSES: {
  readonly [kind: string]: { readonly noun: string; readonly statuses: readonly string[] };
} = {
  job: { noun: 'job', statuses: ['succeeded', 'failed', 'canceled', 'expired', 'paused'] },
  smp: { noun: 'sample', statuses: ['succeeded', 'failed'] },
};

/** A new notice that a record of this kind got this status; null when that is no webhook event. */
export function noticeOf(kind: IdKind, id: string, status: string): Notice | null {
  const events = EVENT_STATUSES[kind];
  if (!events?.statuses.includes(status)) return null;
  const type = `${events.noun}.${status}` as WebhookEventType;
  return { type, event: newId('evt'), id, at: new Date().toISOString() };
}

/** Id of the event of a notice; null when it has none. */
export function eventOf(notice: Notice): string | null {
  return notice.type === 'deliver' ? null : notice.event;
}
