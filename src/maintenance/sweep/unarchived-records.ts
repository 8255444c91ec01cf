import type { IdKind } from '../../contract/ids.ts';
import { FINAL_STATUSES } from '../../contract/schemas/job.ts';
import { RECORD_PREFIX, recordKey } from '../../jobs/archive.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import type { Store } from '../../store/store.ts';
import type { Pace } from './pace.ts';

/**
 * Yields the ids of ended records that are not archived: they ended before there was an archive, or
 * while storage was not reachable.
 */
export async function* findUnarchived(store: Store, blobs: BlobStore, pace: Pace): AsyncGenerator<string> {
  const archived = (kind: IdKind) => blobs.list(`${RECORD_PREFIX}${kind}_`);
  yield* missing(pace(flatten(store.jobs.idsByStatus(FINAL_STATUSES))), archived('job'));
  yield* missing(pace(idsOf(store.policies.oldestFirst())), archived('pol'));
  yield* missing(pace(flatten(store.samples.idsByStatus(FINAL_STATUSES))), archived('smp'));
}

/**
 * Yields the ids without a record among `keys`. Both are sorted and read side by side, because
 * memory may hold neither.
 */
async function* missing(ids: AsyncIterable<string>, keys: AsyncIterable<string>): AsyncGenerator<string> {
  const archived = keys[Symbol.asyncIterator]();
  try {
    let next = await archived.next();
    for await (const id of ids) {
      const key = recordKey(id);
      while (!next.done && next.value < key) next = await archived.next();
      if (next.done || next.value !== key) yield id;
    }
  } finally {
    await archived.return?.();
  }
}

async function* flatten<T>(pages: AsyncIterable<readonly T[]>): AsyncGenerator<T> {
  for await (const page of pages) yield* page;
}

async function* idsOf(records: AsyncIterable<{ readonly id: string }>): AsyncGenerator<string> {
  for await (const { id } of records) yield id;
}
