import { randomBytes } from 'node:crypto';
import { isTenantName } from '../contract/tenants.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { defineScript } from '../redis/lua-script.ts';
import { sha256Of } from '../sha256.ts';

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

/**
 * The limits of a key; null for no limit. `requestsPerMinute` counts the requests of the key. The
 * others count for the tenant, over all its keys.
 */
export interface Limits {
  readonly requestsPerMinute: number | null;
  /** Jobs and samples that wait at the same time. */
  readonly queuedJobs: number | null;
  /**
   * Jobs that run at the same time, >= 1; others wait. If the keys of a tenant differ, the one
   * counts with which the latest job was queued. The limit ends when nothing of the tenant waits.
   */
  readonly runningJobs: number | null;
  /** Images that jobs and samples may request in a day (UTC). */
  readonly imagesPerDay: number | null;
  /** Images of one job (search, report and samples) or of one batch of samples. */
  readonly imagesPerJob: number | null;
  /** Seconds of search of one job. */
  readonly secondsPerJob: number | null;
  /** Width times height times steps of an image. */
  readonly pixelStepsPerImage: number | null;
  /** Bytes of policies, images and new records of jobs and samples that are stored. */
  readonly storedBytes: number | null;
}

/** The limits of a key without limits. */
export const NO_LIMITS: Limits = {
  requestsPerMinute: null,
  queuedJobs: null,
  runningJobs: null,
  imagesPerDay: null,
  imagesPerJob: null,
  secondsPerJob: null,
  pixelStepsPerImage: null,
  storedBytes: null,
};

/** The stored description of a key, without the key itself. Times are RFC 3339. */
export interface ApiKey {
  /** Name of the key in logs and on the command line: `key_` and 12 hexadecimal digits. */
  readonly id: string;
  /** Free text for people. */
  readonly name: string;
  readonly tenant: string;
  readonly scopes: readonly Scope[];
  readonly limits: Limits;
  readonly createdAt: string;
  /** When the key stops working; null for never. */
  readonly expiresAt: string | null;
  /**
   * When the key was revoked; null when it was not. Revoked keys stay stored: a service whose last
   * key is revoked has keys and so rejects every request.
   */
  readonly revokedAt: string | null;
}

const replaceKey = defineScript<0 | 1>(import.meta.url, './lua/replace-key.lua');

/** What the caller chooses of a new key. */
export type NewKey = Pick<ApiKey, 'name' | 'tenant' | 'scopes' | 'limits' | 'expiresAt'>;

/**
 * The API keys of a service, in Redis. A key has 256 random bits, so it can't be guessed. Only its
 * SHA-256 hash is stored, and the hash is looked up, so the time of a look-up reveals nothing about
 * a key.
 */
export class ApiKeys {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * Creates a key.
   * @returns `secret`, the key itself, which can't be read again, and its stored description
   * @throws RangeError when the tenant's name is invalid, there are no scopes, `expiresAt` is not a
   *   date in the future, or no job could ever run
   */
  async create(newKey: NewKey, now: Date): Promise<{ secret: string; key: ApiKey }> {
    if (!isTenantName(newKey.tenant))
      throw new RangeError(
        `"${newKey.tenant}" is not a name of a tenant; a name has 1 to 63 of a-z, 0-9, "-" and "_" ` +
          'and begins with a letter or digit',
      );
    if (newKey.scopes.length === 0)
      throw new RangeError(`a key needs at least one scope of ${SCOPES.join(', ')}`);
    if (newKey.expiresAt !== null && !(Date.parse(newKey.expiresAt) > now.getTime()))
      throw new RangeError(`the end ${newKey.expiresAt} is not a date in the future`);
    if (newKey.limits.runningJobs === 0)
      throw new RangeError('a limit of 0 running jobs lets no job run; it takes 1 or more');
    const secret = `fdy_${randomBytes(32).toString('base64url')}`;
    const id = `key_${randomBytes(6).toString('hex')}`;
    const key: ApiKey = { id, ...newKey, createdAt: now.toISOString(), revokedAt: null };
    await this.#redis.hset(this.#keys.apiKeys(), sha256Of(secret), JSON.stringify(key));
    return { secret, key };
  }

  /** Whether any key exists. Revoked and expired keys count. */
  async hasAny(): Promise<boolean> {
    return (await this.#redis.hlen(this.#keys.apiKeys())) > 0;
  }

  /**
   * Finds a key by its secret; null when it does not exist. The caller checks whether it is expired
   * or revoked.
   */
  async find(secret: string): Promise<ApiKey | null> {
    const entry = await this.#redis.hget(this.#keys.apiKeys(), sha256Of(secret));
    return entry === null ? null : decodeKey(entry);
  }

  /** Lists all keys, oldest first, with the minute of their last use (null for never). */
  async list(): Promise<(ApiKey & { readonly lastUsedAt: string | null })[]> {
    const [entries, used] = await Promise.all([
      this.#redis.hvals(this.#keys.apiKeys()),
      this.#redis.hgetall(this.#keys.apiKeysUsed()),
    ]);
    return entries
      .map(decodeKey)
      .map((key) => ({ ...key, lastUsedAt: used[key.id] ?? null }))
      .sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
  }

  /** Sets the end of a key. @returns its new description; null when no key has this id */
  async update(id: string, set: Partial<Pick<ApiKey, 'expiresAt' | 'revokedAt'>>): Promise<ApiKey | null> {
    const apiKeys = this.#keys.apiKeys();
    for (const [hash, before] of Object.entries(await this.#redis.hgetall(apiKeys))) {
      const key = decodeKey(before);
      if (key.id !== id) continue;
      const changed = { ...key, ...set };
      const args = { hash, before, after: JSON.stringify(changed) };
      const isReplaced = (await replaceKey(this.#redis, { keys: { apiKeys }, args })) === 1;
      // With another change at the same time, both apply.
      return isReplaced ? changed : this.update(id, set);
    }
    return null;
  }

  /** Records the time of a key's last use. @param now RFC 3339 */
  async recordUse(id: string, now: string): Promise<void> {
    await this.#redis.hset(this.#keys.apiKeysUsed(), id, now);
  }
}

/** A stored key. Keys of earlier releases have fewer limits. */
function decodeKey(entry: string): ApiKey {
  const key = JSON.parse(entry) as ApiKey;
  return { ...key, limits: { ...NO_LIMITS, ...key.limits } };
}
