import type { Logger } from 'pino';
import type { BlobEntry, BlobStore } from '../../storage/blobs.ts';
import { archiveEnded, archivePolicy, RECORDS, recordKey } from '../archive.ts';
import { ENDED } from '../schemas/job.ts';
import type { Store } from '../store.ts';
import { withLock } from './lock.ts';
import { findOrphans, isRedisEmpty, type Orphan } from './orphans.ts';
import { eachRecord } from './pages.ts';
import { type Expired, findExpired, type LimitsOf, removeExpired } from './retention.ts';

/** A blob that nothing points at is left alone for so long, milliseconds: its record may be on its way. */
export const ORPHAN_AGE = 86_400_000;

export interface Swept {
  /** Ids of ended things whose record storage did not have; it was kept. */
  readonly archived: readonly string[];
  readonly expired: readonly Expired[];
  readonly orphans: readonly Orphan[];
  /** Why some orphans stay; null: none do. */
  readonly held: string | null;
}

/**
 * Archives what ended without being archived, deletes what is beyond the limits, then blobs that nothing needs. In one process at
 * a time; each deletion is logged.
 * @param options.now milliseconds since 1970
 * @param options.isDry only say what would be done
 * @returns null when another process sweeps
 */
export async function sweep(
  store: Store,
  blobs: BlobStore,
  {
    limitsOf,
    now,
    isDry,
    logger,
  }: { readonly limitsOf: LimitsOf; readonly now: number; readonly isDry: boolean; readonly logger?: Logger },
): Promise<Swept | null> {
  return withLock(store.redis, store.keys.sweep(), async (lost) => {
    const isEmpty = await isRedisEmpty(store);
    const archived: string[] = [];
    const known = new Set(await blobs.list(RECORDS));
    for await (const { id, keep } of unarchived(store, blobs, known)) {
      lost.throwIfAborted();
      if (!isDry) await keep();
      archived.push(id);
    }

    const expired: Expired[] = [];
    for (const one of await findExpired(store, limitsOf, now)) {
      lost.throwIfAborted();
      if (!isDry && !(await removeExpired(store, blobs, one, new Date(now).toISOString()))) continue;
      expired.push(one);
      if (!isDry) logger?.info({ id: one.id, reason: one.reason }, `${one.kind} deleted: beyond what is kept`);
    }

    const entries: BlobEntry[] = await blobs.entries('');
    const { orphans, held } = await findOrphans(store, entries, now - ORPHAN_AGE, isEmpty);
    for (const { key, reason } of orphans) {
      lost.throwIfAborted();
      if (isDry) continue;
      await blobs.delete(key);
      logger?.info({ key, reason }, 'orphaned blob deleted');
    }
    if (held) logger?.warn(held);
    if (archived.length > 0) logger?.info({ records: archived.length }, 'archived what storage did not have');
    return { archived, expired, orphans, held };
  });
}

/** What has ended and is not in storage: from before there was an archive, or storage was away at its end. */
async function* unarchived(
  store: Store,
  blobs: BlobStore,
  known: ReadonlySet<string>,
): AsyncGenerator<{ readonly id: string; readonly keep: () => Promise<void> }> {
  const isMissing = ({ id, status }: { readonly id: string; readonly status?: string }) =>
    (status === undefined || ENDED.includes(status)) && !known.has(recordKey(id));
  for await (const job of eachRecord(store.jobs)) {
    if (isMissing(job)) yield { id: job.id, keep: () => archiveEnded(store, blobs, job.id) };
  }
  for await (const policy of eachRecord(store.policies)) {
    if (isMissing(policy)) yield { id: policy.id, keep: () => archivePolicy(blobs, policy) };
  }
  for await (const sample of eachRecord(store.samples)) {
    if (isMissing(sample)) yield { id: sample.id, keep: () => archiveEnded(store, blobs, sample.id) };
  }
}
