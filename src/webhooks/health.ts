import type { Logger } from 'pino';
import type { DeliveryRecord, EndpointRecord, WebhookStore } from './store.ts';

/** Days after which an endpoint with nothing but failures is disabled. */
export const DISABLE_AFTER_DAYS = 5;

/**
 * Updates the health of an endpoint after an attempt, and disables it if need be. A 410 disables it
 * at once. An endpoint whose attempts have failed for `DISABLE_AFTER_DAYS` is disabled when the
 * next delivery is given up. That delivery was tried for a day, so an endpoint that gets few events
 * is not disabled for two short failures far apart. A test call can end a row of failures but not
 * start one.
 */
export async function updateEndpointHealth(
  webhooks: WebhookStore,
  { endpointId, tenant, type }: DeliveryRecord,
  {
    status,
    error,
    isGivenUp,
    at,
    logger,
  }: {
    readonly status: number | null;
    readonly error: string | null;
    /** Whether this was the last attempt of the delivery. */
    readonly isGivenUp: boolean;
    readonly at: Date;
    readonly logger: Logger;
  },
): Promise<void> {
  if (endpointId === null) return;
  const { endpoints } = webhooks.forTenant(tenant);
  const endpoint = await endpoints.find(endpointId);
  if (!endpoint?.enabled) return;
  const { failingSince } = endpoint;
  const disable = async (disabledReason: string, expected: Partial<EndpointRecord>) => {
    const set = { enabled: false, disabledReason };
    const outcome = await endpoints.change(endpointId, { set, expected });
    if (outcome === 'done')
      logger.warn({ webhookEndpointId: endpointId, tenant }, `webhook endpoint disabled: ${disabledReason}`);
  };
  if (status === 410) return disable(`it answered 410 (gone) at ${at.toISOString()}`, {});
  if (error === null) {
    if (failingSince !== null) await endpoints.change(endpointId, { set: { failingSince: null } });
  } else if (type !== 'webhook.test') {
    if (failingSince === null)
      await endpoints.change(endpointId, {
        set: { failingSince: at.toISOString() },
        expected: { failingSince },
      });
    else if (isGivenUp && at.getTime() - Date.parse(failingSince) >= DISABLE_AFTER_DAYS * 86_400_000)
      // The expected `failingSince` fails when another attempt has succeeded meanwhile.
      await disable(
        `every attempt has failed since ${failingSince}, the last one at ${at.toISOString()}: ${error}`,
        { failingSince },
      );
  }
}
