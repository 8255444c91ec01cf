import type { Scope } from '../../tenancy/api-keys.ts';
import type { Caller } from './authenticator.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * Scope that the route requires, or several of which one is enough, where that differs from
     * what `requiredScopes` derives.
     */
    scope?: Scope | readonly Scope[];
  }
}

/** What `tenant-admin` includes: everything that belongs to its tenant. */
const TENANT_SCOPES: readonly Scope[] = ['read', 'jobs:write', 'samples:write', 'webhooks:write'];

/**
 * The scopes of which a route requires one; none: it is open to everybody. A new route is covered
 * by default: reading requires `read`, writing requires the scope of its resource, else `admin`.
 * @param url the route's pattern, such as `/v1/jobs/:id`
 */
export function requiredScopes(
  method: string,
  url: string,
  { scope }: { readonly scope?: Scope | readonly Scope[] } = {},
): readonly Scope[] {
  if (scope) return [scope].flat();
  if (url === '/metrics') return ['metrics:read'];
  if (!/^\/v\d+(\/|$)/.test(url)) return [];
  if (/^\/v1\/keys(\/|$)/.test(url)) return ['tenant-admin'];
  if (method === 'GET' || method === 'HEAD') return ['read'];
  if (/\/samples(\/|$)/.test(url)) return ['samples:write'];
  if (/^\/v1\/(webhook-endpoints|webhook-deliveries)(\/|$)/.test(url)) return ['webhooks:write'];
  if (/^\/v1\/(jobs|policies)(\/|$)/.test(url)) return ['jobs:write'];
  return ['admin'];
}

/**
 * Whether the caller has a scope. `admin` includes every other one, `tenant-admin` those of its
 * tenant.
 */
export function hasScope({ scopes }: Pick<Caller, 'scopes'>, scope: Scope): boolean {
  if (scopes.includes(scope) || scopes.includes('admin')) return true;
  return scopes.includes('tenant-admin') && TENANT_SCOPES.includes(scope);
}
