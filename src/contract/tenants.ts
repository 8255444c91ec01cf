/** Whose everything is that was made before there were tenants, or through a server without keys. */
export const DEFAULT_TENANT = 'default';

/** Whether it can be a tenant's name: it stands in keys of Redis and in the log. */
export function isTenantName(name: string): boolean {
  return /^[a-z0-9][a-z0-9_-]{0,62}$/.test(name);
}
