import type { IdKind } from '../contract/ids.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import { currentVersion, type Fields, migrate } from './migrations.ts';

/** What every record has. */
export interface AnyRecord {
  readonly id: string;
  /** Name of the tenant that owns it. */
  readonly tenant: string;
  /** Size of its file in storage. */
  readonly bytes?: number;
}

/**
 * A record as Redis holds it: one hash. This file and `lua/includes/new-record.lua` alone know how.
 *
 * - One field for each property, as JSON. `status` is plain text, which scripts compare.
 * - `_accepted` (stored name), of enqueued jobs and samples: the whole new record as one JSON.
 *   Fields beside it take precedence: those that scripts read from the start, and all that changed
 *   later.
 * - Internal fields begin with `_`. No view shows them. `_version` is the version of the record
 *   (`migrations.ts`); the scripts in `lua/` keep leases, the last change and the first event in
 *   others; `InternalFields` are callers'.
 */
export type RecordHash = { readonly [field: string]: string };

/**
 * Values beside a record that no view shows, for example secrets, by their names without the `_`.
 */
export type InternalFields = { readonly [name: string]: unknown };

const NEW_RECORD = '_accepted';
const VERSION = '_version';

/** Names and values of hash fields, alternately. Properties that are undefined are left out. */
export function encodeFields(properties: object): string[] {
  const fields: string[] = [];
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    fields.push(name, name === 'status' ? String(value) : JSON.stringify(value));
  }
  return fields;
}

/** Names and values of hash fields, alternately. */
export function encodeInternalFields(internal: InternalFields = {}): string[] {
  return Object.entries(internal).flatMap(([name, value]) => [
    internalFieldName(name),
    JSON.stringify(value),
  ]);
}

/** A whole record with its internal fields: names and values of hash fields, alternately. */
export function encodeRecord(kind: IdKind, record: AnyRecord, internal?: InternalFields): string[] {
  return [VERSION, String(currentVersion(kind)), ...encodeFields(record), ...encodeInternalFields(internal)];
}

/**
 * What has to be written so that a record of an older version becomes one of the current version.
 */
export interface Upgrade {
  readonly version: string;
  readonly nextVersion: number;
  /** Names and values, alternately, of the fields that change, as they were read; '': missing. */
  readonly before: readonly string[];
  /** Names and new values, alternately. */
  readonly after: readonly string[];
}

/**
 * Decodes a record of any version up to the current one.
 * @returns the record in the current version, and its upgrade when it was stored in an older one;
 * null for an empty hash: there is no record
 * @throws RecordVersionError when a newer release wrote it
 */
export function decodeRecord<T>(
  kind: IdKind,
  hash: RecordHash,
): { readonly record: T; readonly upgrade: Upgrade | null } | null {
  const stored = parseHash(hash);
  if (stored === null) return null;
  const version = hash[VERSION] ?? '0';
  // Redis holds what `encodeRecord` and `new-record.lua` wrote: the types of records are not
  // checked again.
  if (version === String(currentVersion(kind))) return { record: stored as T, upgrade: null };
  const record = migrate(kind, stored, Number(version));
  return { record: record as T, upgrade: upgradeOf(hash, version, currentVersion(kind), record) };
}

/** The value of one field of a hash, for example of HMGET; null when the field is missing. */
export function decodeField<V>(value: string | null | undefined): V | null {
  return value === null || value === undefined ? null : (JSON.parse(value) as V);
}

/** The value of an internal field; null when the hash has none. */
export function decodeInternalField<V>(hash: RecordHash, name: string): V | null {
  return decodeField<V>(hash[internalFieldName(name)]);
}

/** Name in the hash of an internal field. */
export function internalFieldName(name: string): string {
  return `_${name}`;
}

/** Records from before there were tenants are the default tenant's. */
function parseHash(hash: RecordHash): Fields | null {
  const changed: Record<string, unknown> = {};
  let isEmpty = true;
  for (const name in hash) {
    if (name.startsWith('_')) continue;
    changed[name] = name === 'status' ? hash[name] : JSON.parse(hash[name]);
    isEmpty = false;
  }
  if (isEmpty) return null;
  return { tenant: DEFAULT_TENANT, ...decodeField<Fields>(hash[NEW_RECORD]), ...changed };
}

function upgradeOf(hash: RecordHash, version: string, nextVersion: number, record: Fields): Upgrade {
  const before: string[] = [];
  const after: string[] = [];
  const fields = encodeFields(record);
  for (let i = 0; i < fields.length; i += 2) {
    const [name, value] = fields.slice(i, i + 2);
    if (hash[name] === value) continue;
    before.push(name, hash[name] ?? '');
    after.push(name, value);
  }
  return { version, nextVersion, before, after };
}
