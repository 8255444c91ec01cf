import type { IdKind } from '../contract/ids.ts';
import { DEFAULT_REPORT_DRAWS } from '../contract/schemas/job.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';

/** The properties of a record, whatever its version. */
export type Fields = { readonly [name: string]: unknown };

/** Turns a record of one version into the next. Pure: it depends on the record alone. */
type Migration = (record: Fields) => Fields;

const fillTenant: Migration = (record) => ({ tenant: DEFAULT_TENANT, ...record });
const fillSampler: Migration = (record) => ({
  ...fillTenant(record),
  sampler: { clipSkip: 0, ...(record.sampler as object) },
});
/**
 * The properties stay; the hash in Redis changed (`record-codec.ts`), so an older release cannot
 * read it.
 */
const changeHash: Migration = (record) => record;
const renameLaw: Migration = (record) => {
  const { law: distribution, ...others } = record; // `law`: the earlier name, now an alias
  return { distribution, ...others };
};

/** One worker evaluated all noises of a job. */
const fillParallelism: Migration = (record) => {
  const progress = record.progress as { readonly images: number } | undefined;
  if (!progress) return { parallelism: 1, ...record };
  return { parallelism: 1, ...record, progress: { workers: progress.images > 0 ? 1 : 0, ...progress } };
};

/**
 * By kind, the migrations from version 0 to 1, from 1 to 2, and so on. The current version is their
 * number. Version 0 are records from before there were versions. To change the properties of a
 * record, append a migration; never change or remove one that was released.
 */
const MIGRATIONS: Record<IdKind, readonly Migration[]> = {
  job: [
    (record) => ({
      reportDraws: DEFAULT_REPORT_DRAWS,
      deadline: null,
      webhook: null,
      ...fillSampler(record),
    }),
    changeHash,
    fillParallelism,
  ],
  pol: [fillSampler, renameLaw],
  smp: [fillSampler],
  img: [fillTenant],
  whe: [(record) => ({ failingSince: null, ...record })],
  dlv: [],
  evt: [],
};

/** Version of new records of this kind. */
export function currentVersion(kind: IdKind): number {
  return MIGRATIONS[kind].length;
}

/** Thrown for a record that a newer release wrote. */
export class RecordVersionError extends Error {
  override readonly name = 'RecordVersionError';
}

/**
 * Turns a record of version `version` into one of the current version.
 * @throws RecordVersionError when `version` is newer, or no version
 */
export function migrate(kind: IdKind, record: Fields, version: number): Fields {
  const current = currentVersion(kind);
  if (!Number.isInteger(version) || version < 0 || version > current) {
    throw new RecordVersionError(
      `The record ${String(record.id)} has version ${version}; this findery reads 0 to ${current}. ` +
        'A newer findery wrote it: update this one.',
    );
  }
  return MIGRATIONS[kind].slice(version).reduce((older, next) => next(older), record);
}
