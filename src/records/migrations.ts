import type { IdKind } from '../contract/ids.ts';
import { REPORT_DRAWS } from '../contract/schemas/job.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';

/** A record as JSON values, whatever version it has. */
export type Fields = { readonly [name: string]: unknown };

/** From one version of a kind's records to the next. Pure: it sees the record alone. */
type Migration = (record: Fields) => Fields;

/** Version 0 is what was written before records had versions: 0.1.0 and the first months. */
const fillTenant: Migration = (record) => ({ tenant: DEFAULT_TENANT, ...record });
/** The same fields, kept in another way (`queue/enqueue.lua`), which an older findery could not read. */
const keepOtherwise: Migration = (record) => record;
const fillSampler: Migration = (record) => ({
  ...fillTenant(record),
  sampler: { clipSkip: 0, ...(record.sampler as object) },
});

/**
 * By kind, what takes version 0 to 1, 1 to 2, and so on: the version that is written is the number of entries. To change what
 * a record holds, append one here; never change or remove one that was released.
 */
const MIGRATIONS: Record<IdKind, readonly Migration[]> = {
  job: [
    (record) => ({ reportDraws: REPORT_DRAWS, deadline: null, webhook: null, ...fillSampler(record) }),
    keepOtherwise,
  ],
  pol: [fillSampler, ({ law, ...record }) => ({ distribution: law, ...record })],
  smp: [fillSampler],
  img: [fillTenant],
  whe: [(record) => ({ failingSince: null, ...record })],
  dlv: [],
  evt: [],
};

/** The version of records of this kind that this findery writes. */
export function currentVersion(kind: IdKind): number {
  return MIGRATIONS[kind].length;
}

/** A record of a version that this findery does not know yet. */
export class RecordVersionError extends Error {
  override readonly name = 'RecordVersionError';
}

/**
 * `record`, of version `version`, as this findery writes it.
 * @throws RecordVersionError when it is of a newer one
 */
export function migrate(kind: IdKind, record: Fields, version: number): Fields {
  const current = currentVersion(kind);
  if (!Number.isInteger(version) || version < 0 || version > current) {
    throw new RecordVersionError(
      `The record ${String(record.id)} has version ${version}; this findery reads 0 to ${current}. It was written by a newer findery: update this one.`,
    );
  }
  return MIGRATIONS[kind].slice(version).reduce((older, next) => next(older), record);
}
