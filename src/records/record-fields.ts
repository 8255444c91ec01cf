import type { IdKind } from '../contract/ids.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import { type Fields, migrate } from './migrations.ts';

/** A record as Redis has it: names and values in turns, JSON but for the status, which scripts read. */
export function fieldsOf(record: object): string[] {
  const fields: string[] = [];
  for (const [name, value] of Object.entries(record)) {
    if (value === undefined) continue;
    fields.push(name, name === 'status' ? String(value) : JSON.stringify(value));
  }
  return fields;
}

/** Fields that are in no answer, as secrets: `Records.hidden` alone gives them out. */
export type Hidden = { readonly [name: string]: unknown };

/** Their names begin with `_`. */
export function hiddenFields(hide: Hidden = {}): string[] {
  return Object.entries(hide).flatMap(([name, value]) => [`_${name}`, JSON.stringify(value)]);
}

/** A record as Redis has it, brought up to this findery's version; null: there is none. */
export function readFields<T>(kind: IdKind, fields: Record<string, string>): T | null {
  const record = parseRecord<T>(fields);
  return record && (migrate(kind, record as Fields, Number(fields._version ?? 0)) as T);
}

/** The record without its hidden fields; null: there is none. Those from before there were tenants are the default one's. */
export function parseRecord<T>(fields: Record<string, string>): T | null {
  const entries = Object.entries(fields).filter(([name]) => !name.startsWith('_'));
  if (entries.length === 0) return null;
  const values = entries.map(([name, value]) => [name, name === 'status' ? value : JSON.parse(value)]);
  const accepted = fields._accepted === undefined ? {} : (JSON.parse(fields._accepted) as object);
  return { tenant: DEFAULT_TENANT, ...accepted, ...Object.fromEntries(values) } as T;
}
