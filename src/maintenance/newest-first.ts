import type { AnyRecord } from '../records/record-codec.ts';
import type { Records } from '../records/records.ts';

const PAGE_SIZE = 200;

/**
 * Yields every record of a kind, newest first. Reads pages, because memory may not hold all
 * records.
 */
export async function* newestFirst<T extends AnyRecord>(records: Records<T>): AsyncGenerator<T> {
  for (let after: string | undefined; ; ) {
    const { data, nextAfter } = await records.list({ limit: PAGE_SIZE, after });
    yield* data;
    if (nextAfter === null) return;
    after = nextAfter;
  }
}
