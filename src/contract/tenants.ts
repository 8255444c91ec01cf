/** Owner of all records that were made before there were tenants, or by a service without keys. */
export const DEFAULT_TENANT = 'default';

/**
 * Whether a text is accepted as the name of a tenant, which is part of Redis keys and of log
 * entries.
 */
export function isTenantName(name: string): boolean {
  return /^[a-z0-9][a-z0-9_-]{0,62}$/.test(name);
}
