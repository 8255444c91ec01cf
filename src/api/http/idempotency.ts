import type { FastifyRequest } from 'fastify';
import { type IdKind, newId } from '../../contract/ids.ts';
import { sha256Of } from '../../sha256.ts';

/** The id of a record that a request creates. */
export interface Reservation {
  readonly id: string;
  /**
   * False: an earlier request with the same idempotency key may have created the record. If it was
   * deleted since, it must not be created again.
   */
  readonly isNew: boolean;
}

/**
 * The id of the record that a POST creates: always the same for one idempotency key, so a request
 * whose process died, or whose answer failed, is finished instead of repeated.
 */
export function reserveId(request: FastifyRequest, kind: IdKind): Reservation {
  const { idempotency } = request;
  if (!idempotency) return { id: newId(kind), isNew: true };
  idempotency.hasReserved = true;
  return { id: `${kind}_${idempotency.ulid}`, isNew: idempotency.isNew };
}

/** A hash of what a POST asks for: address, query and body. */
export function fingerprintOf({ method, url, query, body }: FastifyRequest): string {
  const [path] = url.split('?');
  const content = Buffer.isBuffer(body) ? sha256Of(body) : (body ?? null);
  return digestOf([method, path, query, content]);
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
