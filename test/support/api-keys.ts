import { ApiKeys, type NewKey, NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import type { TestApi } from './test-api.ts';

/**
 * Creates an API key as `findery keys create` does.
 * @param wanted differences from a key of the tenant `acme` without limits
 */
export async function createKey({ store }: TestApi, wanted: Partial<NewKey> = {}) {
  const { tenant = 'acme' } = wanted;
  const { secret, key } = await new ApiKeys(store.redis, store.keys).create(
    {
      name: 'a test',
      tenant,
      scopes: ['read', 'jobs:write', 'samples:write'],
      limits: NO_LIMITS,
      expiresAt: null,
      ...wanted,
    },
    new Date(),
  );
  return { secret, key, headers: { authorization: `Bearer ${secret}` } };
}

/** The API with these headers in every request. */
export function withHeaders(api: TestApi, headers: Record<string, string>): TestApi {
  return {
    ...api,
    get: (path, more) => api.get(path, { ...headers, ...more }),
    post: (path, body, more) => api.post(path, body, { ...headers, ...more }),
    send: (method, path, more, body) => api.send(method, path, { ...headers, ...more }, body),
  };
}
