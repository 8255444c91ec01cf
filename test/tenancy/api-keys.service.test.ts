import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiKeys, NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;
let keys: ApiKeys;
beforeAll(async () => {
  api = await startTestApi();
  keys = new ApiKeys(api.store.redis, api.store.keys);
});
afterAll(() => api.close());

const now = new Date();
const newKey = (tenant: string, name = 'a test') => {
  return { name, tenant, scopes: ['read'] as const, limits: NO_LIMITS, expiresAt: null };
};

/** Stores descriptions of keys directly, which is faster than creating them. */
async function store(tenant: string, count: number, revokedAt: string | null): Promise<void> {
  const entries = Array.from({ length: count }, (_, i) => {
    const createdAt = new Date(i).toISOString();
    return [
      `${tenant}${i}`,
      JSON.stringify({ id: `key_${tenant}${i}`, ...newKey(tenant), createdAt, revokedAt }),
    ];
  });
  await api.store.redis.hset(api.store.keys.apiKeys(), ...entries.flat());
}

describe('the keys of a tenant', () => {
  it('are 1000 at most: the oldest that have ended are deleted for a new one', async () => {
    await store('old', 1000, now.toISOString());
    await store('other', 1, now.toISOString());
    const { key } = await keys.create(newKey('old', 'new'), now);
    expect(await keys.get(key.id)).toMatchObject({ name: 'new' });
    expect(await keys.get('key_old0')).toBeNull();
    expect(await keys.get('key_old1')).not.toBeNull();
    expect(await keys.get('key_other0')).not.toBeNull();
  });

  it('are refused beyond that while all are valid', async () => {
    await store('full', 1000, null);
    await expect(keys.create(newKey('full'), now)).rejects.toThrow(/1000 valid keys, the most; revoke one/);
    expect(await keys.get('key_full0')).not.toBeNull();
  });

  it('stay revoked when they are rotated at the same time, and no new key comes of it', async () => {
    for (let round = 0; round < 10; round++) {
      const { key } = await keys.create(newKey('race'), now);
      const oldEnd = new Date(now.getTime() + 3_600_000).toISOString();
      const [rotated, revoked] = await Promise.all([
        keys.rotate(key.id, { oldEnd }, now),
        keys.update(key.id, { revokedAt: now.toISOString() }),
      ]);
      const end = await keys.get(key.id);
      expect(end?.revokedAt).toBe(revoked?.revokedAt);
      // Rotated before it was revoked, or not at all.
      expect(end?.expiresAt).toBe(rotated ? oldEnd : null);
    }
  });
});
