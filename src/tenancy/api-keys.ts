import { randomBytes } from 'node:crypto';
import { SCOPES, type Scope } from '../contract/scopes.ts';
import { isTenantName } from '../contract/tenants.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { defineScript } from '../redis/lua-script.ts';
import { sha256Of } from '../sha256.ts';

export { SCOPES, type Scope };

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

/** Keys of a tenant that are stored, revoked and expired ones too. */
const MAX_KEYS = 1000;

/** Whether a key works: `ended` means that its time is over. */
export function keyState(
  { revokedAt, expiresAt }: Pick<ApiKey, 'revokedAt' | 'expiresAt'>,
  now: Date,
): 'valid' | 'revoked' | 'ended' {
  if (revokedAt !== null) return 'revoked';
  return expiresAt !== null && Date.parse(expiresAt) <= now.getTime() ? 'ended' : 'valid';
}

/** A new key: the secret, which is not stored, and its stored description. */
export interface CreatedKey {
  readonly secret: string;
  readonly key: ApiKey;
}

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
   * Creates a key. If the tenant has `MAX_KEYS`, those that ended first are deleted.
   * @param id left out: a new one
   * @returns `secret`, the key itself, which can't be read again, and its stored description
   * @throws RangeError when the tenant's name is invalid, there are no scopes, `expiresAt` is not a
   *   date in the future, no job could ever run, or the tenant has `MAX_KEYS` valid keys
   */
  async create(newKey: NewKey, now: Date, id = newKeyId()): Promise<CreatedKey> {
    checkNewKey(newKey, now);
    await this.#makeRoom(newKey.tenant, now);
    const made = makeKey(newKey, now, id);
    await this.#redis.hset(this.#keys.apiKeys(), sha256Of(made.secret), JSON.stringify(made.key));
    return made;
  }

  /**
   * Replaces a valid key by one with the same rights, or with `scopes`. The old one ends at
   * `oldEnd`, or earlier if it would have anyway.
   * @param oldEnd RFC 3339
   * @param newId left out: a new one
   * @returns the new key and the end of the old one; null: no valid key has this id
   * @throws RangeError as `create`
   */
  async rotate(
    id: string,
    { scopes, oldEnd }: { readonly scopes?: readonly Scope[]; readonly oldEnd: string },
    now: Date,
    newId = newKeyId(),
  ): Promise<(CreatedKey & { readonly oldEnd: string }) | null> {
    const found = await this.#findStored(id);
    if (!found || keyState(found.key, now) !== 'valid') return null;
    const { name, tenant, limits, expiresAt, scopes: oldScopes } = found.key;
    const newKey = { name, tenant, limits, expiresAt, scopes: scopes ?? oldScopes };
    checkNewKey(newKey, now);
    await this.#makeRoom(tenant, now);
    const made = makeKey(newKey, now, newId);
    const end = expiresAt !== null && expiresAt < oldEnd ? expiresAt : oldEnd;
    if (await this.#replace(found, { ...found.key, expiresAt: end }, made)) return { ...made, oldEnd: end };
    return this.rotate(id, { scopes, oldEnd }, now, newId);
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

  /** The key with this id; null when there is none. */
  async get(id: string): Promise<ApiKey | null> {
    return (await this.#findStored(id))?.key ?? null;
  }

  /**
   * Sets the end of a key. A key that was revoked stays so.
   * @returns its new description; null when no key has this id
   */
  async update(id: string, set: Partial<Pick<ApiKey, 'expiresAt' | 'revokedAt'>>): Promise<ApiKey | null> {
    const found = await this.#findStored(id);
    if (!found) return null;
    const changed = { ...found.key, ...set, ...(found.key.revokedAt && { revokedAt: found.key.revokedAt }) };
    // With another change at the same time, both apply.
    return (await this.#replace(found, changed)) ? changed : this.update(id, set);
  }

  /** Records the time of a key's last use. @param now RFC 3339 */
  async recordUse(id: string, now: string): Promise<void> {
    await this.#redis.hset(this.#keys.apiKeysUsed(), id, now);
  }

  async #findStored(id: string): Promise<StoredKey | null> {
    for (const [hash, json] of Object.entries(await this.#redis.hgetall(this.#keys.apiKeys()))) {
      const key = decodeKey(json);
      if (key.id === id) return { hash, json, key };
    }
    return null;
  }

  /** @returns false when the key changed since it was read */
  async #replace({ hash, json }: StoredKey, changed: ApiKey, added?: CreatedKey): Promise<boolean> {
    const replaced = await replaceKey(this.#redis, {
      keys: { apiKeys: this.#keys.apiKeys() },
      args: {
        hash,
        before: json,
        after: JSON.stringify(changed),
        newHash: added ? sha256Of(added.secret) : '',
        newKey: added ? JSON.stringify(added.key) : '',
      },
    });
    return replaced === 1;
  }

  /**
   * Deletes the keys of a tenant that ended first, until it may have one more.
   * @throws RangeError when too many are valid
   */
  async #makeRoom(tenant: string, now: Date): Promise<void> {
    const apiKeys = this.#keys.apiKeys();
    const stored = Object.entries(await this.#redis.hgetall(apiKeys))
      .map(([hash, json]) => ({ hash, key: decodeKey(json) }))
      .filter(({ key }) => key.tenant === tenant);
    const surplus = stored.length - MAX_KEYS + 1;
    if (surplus <= 0) return;
    const ended = stored
      .filter(({ key }) => keyState(key, now) !== 'valid')
      .sort((a, b) => (a.key.createdAt < b.key.createdAt ? -1 : 1))
      .slice(0, surplus);
    if (ended.length < surplus)
      throw new RangeError(`the tenant ${tenant} has ${MAX_KEYS} valid keys, the most; revoke one`);
    await this.#redis.hdel(apiKeys, ...ended.map(({ hash }) => hash));
    await this.#redis.hdel(this.#keys.apiKeysUsed(), ...ended.map(({ key }) => key.id));
  }
}

interface StoredKey {
  /** SHA-256 of the secret. */
  readonly hash: string;
  readonly json: string;
  readonly key: ApiKey;
}

function checkNewKey({ tenant, scopes, expiresAt, limits }: NewKey, now: Date): void {
  if (!isTenantName(tenant))
    throw new RangeError(
      `"${tenant}" is not a name of a tenant; a name has 1 to 63 of a-z, 0-9, "-" and "_" ` +
        'and begins with a letter or digit',
    );
  if (scopes.length === 0) throw new RangeError(`a key needs at least one scope of ${SCOPES.join(', ')}`);
  if (expiresAt !== null && !(Date.parse(expiresAt) > now.getTime()))
    throw new RangeError(`the end ${expiresAt} is not a date in the future`);
  if (limits.runningJobs === 0)
    throw new RangeError('a limit of 0 running jobs lets no job run; it takes 1 or more');
}

function makeKey(newKey: NewKey, now: Date, id: string): CreatedKey {
  const secret = `fdy_${randomBytes(32).toString('base64url')}`;
  return { secret, key: { id, ...newKey, createdAt: now.toISOString(), revokedAt: null } };
}

function newKeyId(): string {
  return `key_${randomBytes(6).toString('hex')}`;
}

/** A stored key. Keys of earlier releases have fewer limits. */
function decodeKey(entry: string): ApiKey {
  const key = JSON.parse(entry) as ApiKey;
  return { ...key, limits: { ...NO_LIMITS, ...key.limits } };
}
