import type { TenantStore } from '../../store/store.ts';
import type { Caller } from '../auth/authenticator.ts';
import { hasScope } from '../auth/scopes.ts';

/** Whether the caller may see which work other tenants have. */
export function seesAllTenants(caller: Caller | null): boolean {
  return caller !== null && hasScope(caller, 'admin');
}

/** Whether the caller may see how much work other tenants have. */
export function countsAllTenants(caller: Caller | null): boolean {
  return caller !== null && hasScope(caller, 'metrics:read');
}

/** Keeps the ids of jobs and samples that belong to the store's tenant. */
export async function filterOwn({ jobs, samples }: TenantStore, ids: readonly string[]): Promise<string[]> {
  const owners = await Promise.all(
    ids.map(async (id) => (await jobs.tenantOf(id)) ?? (await samples.tenantOf(id))),
  );
  return ids.filter((_, i) => owners[i] !== null);
}
