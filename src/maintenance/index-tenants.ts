import type { IdKind } from '../contract/ids.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import { defineScript } from '../redis/lua-script.ts';
import type { Store } from '../store/store.ts';

const KINDS: readonly IdKind[] = ['job', 'smp', 'pol', 'img'];

const indexTenant = defineScript<number>(import.meta.url, './lua/index-tenant.lua');

/**
 * Lists and counts records from before there were tenants as those of the default tenant. An API
 * calls this before it takes requests, when no other tenant can have written anything; later calls
 * change nothing.
 */
export async function indexTenants({ redis, keys, policies }: Store): Promise<void> {
  const marker = `${keys.index('job')}:of`;
  if ((await redis.exists(marker)) === 1) return;
  for (const kind of KINDS)
    await indexTenant(redis, {
      keys: { index: keys.index(kind), tenantIndex: keys.index(kind, DEFAULT_TENANT) },
    });
  // Deleting these policies frees their bytes, so they have to be counted first. Older images have
  // no `bytes`.
  const { data } = await policies.list({ limit: Number.POSITIVE_INFINITY });
  const bytes = data.reduce((sum, policy) => sum + policy.bytes, 0);
  if (bytes > 0) await redis.hsetnx(keys.storedBytes(), DEFAULT_TENANT, bytes);
  await redis.set(marker, 1);
}
