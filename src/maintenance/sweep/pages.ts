import type { AnyRecord } from '../../records/record-change.ts';
import type { Records } from '../../records/records.ts';

/** Every record of a kind, newest first, a page at a time: there may be more than memory takes. */
export async function* eachRecord<T extends AnyRecord>(records: Records<T>): AsyncGenerator<T> {
  for (let after: string | undefined; ; ) {
    const { data, nextAfter } = await records.list({ limit: 200, after });
    yield* data;
    if (nextAfter === null) return;
    after = nextAfter;
  }
}
