import type { IdKind } from '../../contract/ids.ts';
import { FINAL_STATUSES } from '../../contract/schemas/job.ts';
import { RECORDS, recordKey } from '../../jobs/archive.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import type { Store } from '../../store/store.ts';
import type { Pace } from './pace.ts';

/** Ids of what has ended and is not in storage: from before there was an archive, or storage was away at its end. */
export async function* unarchived(store: Store, blobs: BlobStore, pace: Pace): AsyncGenerator<string> {
  const stored = (kind: IdKind) => blobs.list(`${RECORDS}${kind}_`);
  yield* missing(pace(each(store.jobs.idsWith(FINAL_STATUSES))), stored('job'));
  yield* missing(pace(idsOf(store.policies.fromOldest())), stored('pol'));
  yield* missing(pace(each(store.samples.idsWith(FINAL_STATUSES))), stored('smp'));
}

/** Which of `ids` have no record among `keys`. Both come sorted and are gone through side by side: neither has to fit into memory. */
async function* missing(ids: AsyncIterable<string>, keys: AsyncIterable<string>): AsyncGenerator<string> {
  const stored = keys[Symbol.asyncIterator]();
  try {
    let next = await stored.next();
    for await (const id of ids) {
      const key = recordKey(id);
      while (!next.done && next.value < key) next = await stored.next();
      if (next.done || next.value !== key) yield id;
    }
  } finally {
    await stored.return?.();
  }
}

async function* each<T>(pages: AsyncIterable<readonly T[]>): AsyncGenerator<T> {
  for await (const page of pages) yield* page;
}

async function* idsOf(records: AsyncIterable<{ readonly id: string }>): AsyncGenerator<string> {
  for await (const { id } of records) yield id;
}
