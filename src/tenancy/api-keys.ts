import { randomBytes } from 'node:crypto';
import { isTenantName } from '../contract/tenants.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { sha256Of } from '../sha256.ts';

/** What a key allows. `admin` allows everything, and shows the whole service's queues and workers. */
export const SCOPES = ['read', 'jobs:write', 'samples:write', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

/** What may be done with a key at most; null: no limit. All but the requests are counted for the tenant, over all its keys. */
export interface Limits {
  readonly requestsPerMinute: number | null;
  /** Jobs and samples that wait at a time. */
  readonly queuedJobs: number | null;
  /** Images that jobs and samples may ask for on a day (UTC). */
  readonly imagesPerDay: number | null;
  /** Bytes of policies and images in storage. */
  readonly storedBytes: number | null;
}

export const NO_LIMITS: Limits = {
  requestsPerMinute: null,
  queuedJobs: null,
  imagesPerDay: null,
  storedBytes: null,
};

/** A key as it is kept: everything but itself. */
export interface ApiKey {
  /** What it is called in logs and on the command line. */
  readonly id: string;
  readonly name: string;
  readonly tenant: string;
  readonly scopes: readonly Scope[];
  readonly limits: Limits;
  /** RFC 3339, as all times here. */
  readonly createdAt: string;
  /** From then on it is refused; null: no end. */
  readonly expiresAt: string | null;
  /** Revoked keys are kept: a service whose last key is revoked has keys all the same, and lets nobody in. */
  readonly revokedAt: string | null;
}

export type NewKey = Pick<ApiKey, 'name' | 'tenant' | 'scopes' | 'limits' | 'expiresAt'>;

/**
 * The keys of a service, in Redis. Only SHA-256 hashes are kept, and a key is found by its hash: 256 random bits can't be guessed by
 * trying, and how long a look-up takes tells of a hash, which leads to no key.
 */
export class ApiKeys {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * Makes a key.
   * @returns it, which is never to be had again, and what is kept of it
   * @throws RangeError for a tenant that is no name, no scopes, an end that is no date in the future
   */
  async create(wanted: NewKey, now: Date): Promise<{ secret: string; key: ApiKey }> {
    if (!isTenantName(wanted.tenant))
      throw new RangeError(
        `"${wanted.tenant}" is no name of a tenant; it takes 1 to 63 of a-z, 0-9, "-" and "_", the first a letter or digit`,
      );
    if (wanted.scopes.length === 0)
      throw new RangeError(`a key needs a scope; there are ${SCOPES.join(', ')}`);
    if (wanted.expiresAt !== null && !(Date.parse(wanted.expiresAt) > now.getTime()))
      throw new RangeError(`the end ${wanted.expiresAt} is no date in the future`);
    const secret = `fdy_${randomBytes(32).toString('base64url')}`;
    const id = `key_${randomBytes(6).toString('hex')}`;
    const key: ApiKey = { id, ...wanted, createdAt: now.toISOString(), revokedAt: null };
    await this.#redis.hset(this.#keys.apiKeys(), sha256Of(secret), JSON.stringify(key));
    return { secret, key };
  }

  /** Whether there are any, revoked ones and those that have ended included. */
  async any(): Promise<boolean> {
    return (await this.#redis.hlen(this.#keys.apiKeys())) > 0;
  }

  /** What is kept of the key that a client sent; null: there is none. Whether it still counts is for the caller to see. */
  async find(secret: string): Promise<ApiKey | null> {
    const entry = await this.#redis.hget(this.#keys.apiKeys(), sha256Of(secret));
    return entry === null ? null : (JSON.parse(entry) as ApiKey);
  }

  /** All, oldest first, with when each was last used (to the minute; null: never). */
  async list(): Promise<(ApiKey & { readonly lastUsedAt: string | null })[]> {
    const [entries, used] = await Promise.all([
      this.#redis.hvals(this.#keys.apiKeys()),
      this.#redis.hgetall(this.#keys.apiKeysUsed()),
    ]);
    return entries
      .map((entry) => JSON.parse(entry) as ApiKey)
      .map((key) => ({ ...key, lastUsedAt: used[key.id] ?? null }))
      .sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
  }

  /** Sets when the key with this id ends or ended. Null: there is no such key. */
  async change(id: string, set: Partial<Pick<ApiKey, 'expiresAt' | 'revokedAt'>>): Promise<ApiKey | null> {
    for (const [hash, entry] of Object.entries(await this.#redis.hgetall(this.#keys.apiKeys()))) {
      const key = JSON.parse(entry) as ApiKey;
      if (key.id !== id) continue;
      const changed = { ...key, ...set };
      await this.#redis.hset(this.#keys.apiKeys(), hash, JSON.stringify(changed));
      return changed;
    }
    return null;
  }

  async touch(id: string, now: string): Promise<void> {
    await this.#redis.hset(this.#keys.apiKeysUsed(), id, now);
  }
}
