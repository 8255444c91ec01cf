import type { Scope } from '../../tenancy/api-keys.ts';
import type { Caller } from './authenticator.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Scope that the route requires, where it differs from what `requiredScope` derives. */
    scope?: Scope;
  }
}

/**
 * The scope that a route requires; null: it is open to everybody. A new route is covered by
 * default: reading requires `read`, writing requires the scope of its resource, else `admin`.
 * @param url the route's pattern, such as `/v1/jobs/:id`
 */
export function requiredScope(
  method: string,
  url: string,
  config: { readonly scope?: Scope } = {},
): Scope | null {
  if (config.scope) return config.scope;
  if (!/^\/v\d+(\/|$)/.test(url)) return null;
  if (method === 'GET' || method === 'HEAD') return 'read';
  if (/\/samples(\/|$)/.test(url)) return 'samples:write';
  if (/^\/v1\/(jobs|policies|webhook-endpoints|webhook-deliveries)(\/|$)/.test(url)) return 'jobs:write';
  return 'admin';
}

/** Whether the caller has a scope; `admin` includes every other one. */
export function hasScope({ scopes }: Pick<Caller, 'scopes'>, scope: Scope): boolean {
  return scopes.includes(scope) || scopes.includes('admin');
}
