import type { Logger } from 'pino';
import { archiveEnded } from '../../jobs/archive.ts';
import { withLock } from '../../redis/lock.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import type { Store } from '../../store/store.ts';
import { findOrphans, isRedisEmpty, type Orphan } from './orphans.ts';
import { type Pace, unpaced } from './pace.ts';
import { findOldNotes } from './removal-notes.ts';
import { type ExpiredRecord, findExpired, removeExpired } from './retention.ts';
import type { LimitsByTenant } from './retention-limits.ts';
import { findUnarchived } from './unarchived-records.ts';

/** Age from which a blob without a record is an orphan. The record of a younger one may follow. */
export const ORPHAN_AGE_MS = 86_400_000;

/** What a sweep did, or would do. */
export interface SweepReport {
  /** Ids of ended records that were archived. */
  readonly archived: readonly string[];
  readonly expired: readonly ExpiredRecord[];
  readonly orphans: readonly Orphan[];
  /** Keys of old notes of deletions. */
  readonly notes: readonly string[];
  /** Why orphans were left alone; null when none were. */
  readonly warning: string | null;
}

/**
 * Sweeps the service in four steps: archives ended records that are not archived, deletes records
 * beyond the retention limits, orphaned blobs, and old notes of deletions. One process sweeps at a
 * time. Every deletion is logged. Records and blobs are processed as they are read, so the memory
 * of an API that sweeps does not grow with their number.
 * @param options.now milliseconds since 1970
 * @param options.isDry report what would be done, and change nothing
 * @param options.pace default: without rests
 * @returns null when another process is sweeping
 */
export async function sweep(
  store: Store,
  blobs: BlobStore,
  {
    limitsOf,
    now,
    isDry,
    pace = unpaced,
    logger,
  }: {
    readonly limitsOf: LimitsByTenant;
    readonly now: number;
    readonly isDry: boolean;
    readonly pace?: Pace;
    readonly logger?: Logger;
  },
): Promise<SweepReport | null> {
  return withLock(store.redis, store.keys.sweepLock(), async (lost) => {
    const isEmpty = await isRedisEmpty(store);
    const archived: string[] = [];
    for await (const id of findUnarchived(store, blobs, pace)) {
      lost.throwIfAborted();
      if (!isDry) await archiveEnded(store, blobs, id);
      archived.push(id);
    }

    const expired: ExpiredRecord[] = [];
    for await (const record of findExpired(store, limitsOf, now, pace)) {
      lost.throwIfAborted();
      if (!isDry && !(await removeExpired(store, blobs, record, new Date(now).toISOString()))) continue;
      expired.push(record);
      if (!isDry)
        logger?.info({ id: record.id, reason: record.reason }, `${record.kind} deleted by retention`);
    }

    const orphans: Orphan[] = [];
    const entries = pace(blobs.entries(''));
    const warning = await findOrphans(
      store,
      entries,
      { before: now - ORPHAN_AGE_MS, isEmpty },
      async (orphan) => {
        lost.throwIfAborted();
        orphans.push(orphan);
        if (isDry) return;
        await blobs.delete(orphan.key);
        logger?.info({ key: orphan.key, reason: orphan.reason }, 'orphaned blob deleted');
      },
    );
    const notes: string[] = [];
    for await (const key of findOldNotes(blobs, now, pace)) {
      lost.throwIfAborted();
      if (!isDry) await blobs.delete(key);
      notes.push(key);
    }
    if (notes.length > 0) logger?.info({ notes: notes.length }, 'old notes of deletions deleted');
    if (warning) logger?.warn(warning);
    if (archived.length > 0) logger?.info({ records: archived.length }, 'ended records archived');
    return { archived, expired, orphans, notes, warning };
  });
}
