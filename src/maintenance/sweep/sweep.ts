import type { Logger } from 'pino';
import { archiveEnded } from '../../jobs/archive.ts';
import { withLock } from '../../redis/lock.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import type { Store } from '../../store/store.ts';
import { findOrphans, isRedisEmpty, type Orphan } from './orphans.ts';
import { atOnce, type Pace } from './pace.ts';
import { type Expired, findExpired, type LimitsOf, removeExpired } from './retention.ts';
import { unarchived } from './unarchived.ts';

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
 * a time; each deletion is logged. Records and blobs are gone through as they are read: an API sweeps beside its other work, and
 * its memory must not grow with what there is.
 * @param options.now milliseconds since 1970
 * @param options.isDry only say what would be done
 * @param options.pace how fast; left out: at once
 * @returns null when another process sweeps
 */
export async function sweep(
  store: Store,
  blobs: BlobStore,
  {
    limitsOf,
    now,
    isDry,
    pace = atOnce,
    logger,
  }: {
    readonly limitsOf: LimitsOf;
    readonly now: number;
    readonly isDry: boolean;
    readonly pace?: Pace;
    readonly logger?: Logger;
  },
): Promise<Swept | null> {
  return withLock(store.redis, store.keys.sweep(), async (lost) => {
    const isEmpty = await isRedisEmpty(store);
    const archived: string[] = [];
    for await (const id of unarchived(store, blobs, pace)) {
      lost.throwIfAborted();
      if (!isDry) await archiveEnded(store, blobs, id);
      archived.push(id);
    }

    const expired: Expired[] = [];
    for await (const one of findExpired(store, limitsOf, now, pace)) {
      lost.throwIfAborted();
      if (!isDry && !(await removeExpired(store, blobs, one, new Date(now).toISOString()))) continue;
      expired.push(one);
      if (!isDry)
        logger?.info({ id: one.id, reason: one.reason }, `${one.kind} deleted: beyond what is kept`);
    }

    const orphans: Orphan[] = [];
    const entries = pace(blobs.entries(''));
    const held = await findOrphans(store, entries, { before: now - ORPHAN_AGE, isEmpty }, async (orphan) => {
      lost.throwIfAborted();
      orphans.push(orphan);
      if (isDry) return;
      await blobs.delete(orphan.key);
      logger?.info({ key: orphan.key, reason: orphan.reason }, 'orphaned blob deleted');
    });
    if (held) logger?.warn(held);
    if (archived.length > 0) logger?.info({ records: archived.length }, 'archived what storage did not have');
    return { archived, expired, orphans, held };
  });
}
