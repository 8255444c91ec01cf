import type { IdKind } from '../contract/ids.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import type { Store } from '../store/store.ts';

const KINDS: readonly IdKind[] = ['job', 'smp', 'pol', 'img'];

/** Once in the life of a Redis: what was made before there were tenants is listed as the default one's. */
const ADOPT = `
if redis.call('EXISTS', KEYS[2]) == 1 or redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return redis.call('ZUNIONSTORE', KEYS[2], 1, KEYS[1])
`;

/**
 * Lists and counts records from before there were tenants as those of the default tenant. To be called before an API takes requests, as long as
 * no other tenant has written anything; later calls change nothing.
 */
export async function indexTenants({ redis, keys, policies }: Store): Promise<void> {
  const marker = `${keys.index('job')}:of`;
  if ((await redis.exists(marker)) === 1) return;
  for (const kind of KINDS) await redis.eval(ADOPT, 2, keys.index(kind), keys.index(kind, DEFAULT_TENANT));
  // Their bytes count, or deleting them would make room that was never taken. Older images do not say theirs.
  const { data } = await policies.list({ limit: Number.POSITIVE_INFINITY });
  const bytes = data.reduce((sum, policy) => sum + policy.bytes, 0);
  if (bytes > 0) await redis.hsetnx(keys.storedBytes(), DEFAULT_TENANT, bytes);
  await redis.set(marker, 1);
}
