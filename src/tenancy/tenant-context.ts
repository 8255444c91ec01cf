import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import type { Limits } from './api-keys.ts';

/** The tenant on whose behalf something is stored or queued, and its limits. */
export interface TenantContext {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly tenant: string;
  /** null: no limits are counted. */
  readonly limits: Limits | null;
}
