import { type IdKind, newId } from '../contract/ids.ts';
import { ProblemError } from '../contract/problem.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import { sha256Of } from '../sha256.ts';
import type { TenantStore } from '../store/store.ts';

const DAY = 86_400;

/**
 * The id that a request's `Idempotency-Key` stands for: a new one, or the one that the same key and body got before.
 * @throws ProblemError `idempotency-mismatch` when the key came with another body
 */
export async function reserveKey(
  store: TenantStore,
  kind: IdKind,
  key: string,
  body: unknown,
): Promise<{ id: string; isNew: boolean }> {
  const id = newId(kind);
  const digest = digestOf(body);
  // A header holds no line break, so no tenant's keys can be another's.
  const own = store.tenant === DEFAULT_TENANT ? key : `${store.tenant}\n${key}`;
  const redisKey = store.keys.idempotency(sha256Of(own));
  const previous = await store.redis.set(redisKey, JSON.stringify({ id, digest }), 'EX', DAY, 'NX', 'GET');
  if (previous === null) return { id, isNew: true };
  const known = JSON.parse(previous) as { id: string; digest: string };
  if (known.digest !== digest) {
    throw new ProblemError(
      'idempotency-mismatch',
      `The idempotency key "${key.slice(0, 80)}" was used with another body (${known.id}); take a new key for a new request.`,
    );
  }
  return { id: known.id, isNew: false };
}

/** What two requests for the same thing have in common. */
export function digestOf(body: unknown): string {
  return sha256Of(canonical(body));
}

/** JSON with sorted keys: two spellings of one request are the same request. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([name, entry]) => `${JSON.stringify(name)}:${canonical(entry)}`).join()}}`;
}
