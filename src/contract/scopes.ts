/**
 * The scopes of keys. `tenant-admin` includes everything that belongs to the tenant of the key.
 * `metrics:read` allows to see the numbers of the whole service, and no record. `admin` includes
 * all others, and allows to see the queues and workers of the whole service.
 */
export const SCOPES = [
  'read',
  'jobs:write',
  'samples:write',
  'webhooks:write',
  'metrics:read',
  'tenant-admin',
  'admin',
] as const;
/** What a key allows its holder to do. */
export type Scope = (typeof SCOPES)[number];
/** The scopes of a new key for which none are named. */
export const DEFAULT_SCOPES: readonly Scope[] = ['read', 'jobs:write', 'samples:write'];
