import type { Scope } from '../tenancy/api-keys.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a key has to allow, where it is not what `scopeOf` says of the address. */
    scope?: Scope;
  }
}

/**
 * What a key has to allow for a route. A new route that says nothing is covered: reading asks for `read`, and writing what its address
 * is about, else `admin`. Null: it is open to everybody.
 */
export function scopeOf(method: string, url: string, config: { readonly scope?: Scope } = {}): Scope | null {
  if (config.scope) return config.scope;
  if (!/^\/v\d+(\/|$)/.test(url)) return null;
  if (method === 'GET' || method === 'HEAD') return 'read';
  if (/\/samples(\/|$)/.test(url)) return 'samples:write';
  if (/^\/v1\/(jobs|policies|webhook-endpoints|webhook-deliveries)(\/|$)/.test(url)) return 'jobs:write';
  return 'admin';
}
