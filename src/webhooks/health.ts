import type { Logger } from 'pino';
import type { DeliveryRecord, EndpointRecord, WebhookStore } from './webhook-store.ts';

/** Days of failures alone after which an endpoint is disabled. */
export const DISABLE_AFTER_DAYS = 5;

/**
 * What an attempt says of its endpoint. 410: it wants no more of it. One of which nothing came but failures for
 * `DISABLE_AFTER_DAYS` is disabled when the next delivery is given up, which was then tried for a day: a receiver that is told
 * something now and then is not judged by two short troubles that lie far apart. Test calls speak for it, never against it.
 */
export async function noteHealth(
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
    /** Whether it was the last attempt of its delivery. */
    readonly isGivenUp: boolean;
    readonly at: Date;
    readonly logger: Logger;
  },
): Promise<void> {
  if (endpointId === null) return;
  const { endpoints } = webhooks.of(tenant);
  const endpoint = await endpoints.find(endpointId);
  if (!endpoint?.enabled) return;
  const { failingSince } = endpoint;
  const disable = async (disabledReason: string, expects: Partial<EndpointRecord>) => {
    const outcome = await endpoints.change(endpointId, { set: { enabled: false, disabledReason }, expects });
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
        expects: { failingSince },
      });
    else if (isGivenUp && at.getTime() - Date.parse(failingSince) >= DISABLE_AFTER_DAYS * 86_400_000)
      // Unless another attempt went well meanwhile.
      await disable(
        `every attempt has failed since ${failingSince}, the last one at ${at.toISOString()}: ${error}`,
        {
          failingSince,
        },
      );
  }
}
