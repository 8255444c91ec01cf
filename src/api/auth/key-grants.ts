import { ProblemError } from '../../contract/problem.ts';
import type { ApiKey, Limits } from '../../tenancy/api-keys.ts';
import type { Caller } from './authenticator.ts';
import { hasScope } from './scopes.ts';

/**
 * Nobody hands out, or gets hold of, more than the own key allows: `admin` manages every key,
 * `tenant-admin` those of its tenant whose scopes and limits it has itself.
 */

/**
 * Checks that the caller may know the secret of such a key.
 * @throws ProblemError `forbidden` with what its own key lacks
 */
export function checkGrant(caller: Caller, key: Pick<ApiKey, 'tenant' | 'scopes' | 'limits'>): void {
  checkManages(caller, key);
  if (hasScope(caller, 'admin')) return;
  for (const [name, own] of Object.entries(caller.limits) as [keyof Limits, number | null][]) {
    const wanted = key.limits[name] ?? null;
    if (own === null || (wanted !== null && wanted <= own)) continue;
    throw new ProblemError(
      'forbidden',
      `The limit ${name} of the key would be ${wanted ?? 'none'}; the limit of your own key is ${own}. ` +
        'Choose a limit up to that, or use a key with the scope admin.',
    );
  }
}

/**
 * Checks that the caller may end such a key.
 * @throws ProblemError `forbidden` with what its own key lacks
 */
export function checkManages(caller: Caller, { tenant, scopes }: Pick<ApiKey, 'tenant' | 'scopes'>): void {
  if (hasScope(caller, 'admin')) return;
  if (tenant !== caller.tenant)
    throw new ProblemError(
      'forbidden',
      `Keys of the tenant "${tenant}" require a key with the scope admin; yours manages keys of ` +
        `"${caller.tenant}".`,
    );
  const beyond = scopes.filter((scope) => !hasScope(caller, scope));
  if (beyond.length > 0)
    throw new ProblemError(
      'forbidden',
      `A key with ${beyond.join(', ')} is managed by a key with the scope admin; yours has ` +
        `${caller.scopes.join(', ')}.`,
    );
}
