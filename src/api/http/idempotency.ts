import { type IdKind, newId } from '../../contract/ids.ts';
import { ProblemError } from '../../contract/problem.ts';
import { DEFAULT_TENANT } from '../../contract/tenants.ts';
import { sha256Of } from '../../sha256.ts';
import type { TenantStore } from '../../store/store.ts';

const RESERVATION_SECONDS = 86_400;

/** The id that an idempotency key stands for. */
export interface Reservation {
  readonly id: string;
  /** False: an earlier request with the same key and body reserved the id. */
  readonly isNew: boolean;
}

/**
 * Reserves a new id under an `Idempotency-Key`, or returns the id that the same key and body
 * reserved within the last day. Keys of different tenants are independent.
 * @throws ProblemError `idempotency-mismatch` when the key was used with another body
 */
export async function reserveKey(
  store: TenantStore,
  kind: IdKind,
  key: string,
  body: unknown,
): Promise<Reservation> {
  const id = newId(kind);
  const digest = digestOf(body);
  // A header value cannot contain a line break, so no key can name another tenant.
  const ownKey = store.tenant === DEFAULT_TENANT ? key : `${store.tenant}\n${key}`;
  const redisKey = store.keys.idempotency(sha256Of(ownKey));
  const reserved = JSON.stringify({ id, digest });
  const previous = await store.redis.set(redisKey, reserved, 'EX', RESERVATION_SECONDS, 'NX', 'GET');
  if (previous === null) return { id, isNew: true };
  const known = JSON.parse(previous) as { id: string; digest: string };
  if (known.digest === digest) return { id: known.id, isNew: false };
  throw new ProblemError(
    'idempotency-mismatch',
    `The idempotency key "${key.slice(0, 80)}" was used with another body, for ${known.id}. ` +
      'Use a new key for a new request.',
  );
}

/** A hash of a request's body that does not depend on the order of its members. */
export function digestOf(body: unknown): string {
  return sha256Of(canonicalJson(body));
}

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([name, entry]) => `${JSON.stringify(name)}:${canonicalJson(entry)}`).join()}}`;
}
