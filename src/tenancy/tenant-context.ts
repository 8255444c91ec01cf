import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import type { Limits } from './api-keys.ts';

/** The tenant for which records are stored and queued, and its limits. */
export interface TenantContext {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly tenant: string;
  /** null when no limits apply: authentication is off, or the process is a worker. */
  readonly limits: Limits | null;
}
