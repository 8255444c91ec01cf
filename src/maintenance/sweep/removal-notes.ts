import { REMOVAL_PREFIX, readRemoval, recordKey } from '../../jobs/archive.ts';
import { GONE_SECONDS } from '../../records/records.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import type { Pace } from './pace.ts';

/**
 * Finds the notes of deletions that nobody needs any more: Redis has forgotten the deletion, after
 * 90 days, and storage has no record of what was deleted. With a record, `findery reindex` would
 * bring back what was deleted, so its note stays.
 * @param now milliseconds since 1970
 */
export async function* findOldNotes(blobs: BlobStore, now: number, pace: Pace): AsyncGenerator<string> {
  for await (const { key, modifiedAt } of pace(blobs.entries(REMOVAL_PREFIX))) {
    if (modifiedAt >= now - GONE_SECONDS * 1000) continue;
    const note = await readRemoval(blobs, key).catch(() => null); // a damaged note says nothing
    if (note && !(await hasRecord(blobs, [note.id, ...note.ids]))) yield key;
  }
}

async function hasRecord(blobs: BlobStore, ids: readonly string[]): Promise<boolean> {
  for (const id of ids)
    for await (const key of blobs.list(recordKey(id))) if (key === recordKey(id)) return true;
  return false;
}
