import { fileURLToPath } from 'node:url';
import { LiveCatalog } from '../../src/bundles/catalog.ts';
import { newId } from '../../src/contract/ids.ts';
import { DEFAULT_TENANT } from '../../src/contract/tenants.ts';
import { resolveJob } from '../../src/jobs/resolve-request.ts';
import { submitJob } from '../../src/jobs/submit.ts';
import { openStore, scopeStore } from '../../src/store/store.ts';
import { NO_LIMITS } from '../../src/tenancy/api-keys.ts';

/** Jobs that are created at the same time. */
const BATCH = 200;
/** Every tenth job belongs to another tenant. */
const TENANTS = Array.from({ length: 10 }, (_, i) => (i === 0 ? 'another' : DEFAULT_TENANT));

/**
 * Queues jobs as the API does, without HTTP.
 * @param tenants owners of the jobs, in turn
 * @returns ids of the jobs of the default tenant, which requests without a key see
 */
export async function fillQueue(
  redisUrl: string,
  count: number,
  tenants: readonly string[] = TENANTS,
): Promise<string[]> {
  const models = fileURLToPath(new URL('../../models', import.meta.url));
  const catalog = await (await LiveCatalog.open([models], () => {})).now();
  const store = await openStore(redisUrl, 'findery', { failFast: false });
  const stores = tenants.map((tenant) => scopeStore(store, { tenant, key: null, limits: NO_LIMITS }));
  const ids: string[] = [];
  const queue = async (i: number) => {
    const own = stores[i % stores.length];
    const { settings, warnings } = resolveJob(
      { prompt: `a red book and ${i} yellow vases`, seed: i },
      catalog,
    );
    const id = newId('job');
    if (own.tenant === DEFAULT_TENANT) ids.push(id);
    await submitJob(own, settings, { id, warnings, requestId: 'bench', now: new Date().toISOString() });
  };
  for (let i = 0; i < count; i += BATCH)
    await Promise.all(Array.from({ length: Math.min(BATCH, count - i) }, (_, k) => queue(i + k)));
  await store.close();
  return ids;
}
