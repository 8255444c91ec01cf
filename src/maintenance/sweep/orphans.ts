import type { BlobEntry } from '../../storage/blobs.ts';
import type { Store } from '../../store/store.ts';

export interface Orphan {
  readonly key: string;
  readonly bytes: number;
  /** For people. */
  readonly reason: string;
}

/** Blobs that Redis is asked about at once. */
const AT_A_TIME = 100;
/** Those of 0.1.0 end in their iteration, later ones in the token of the worker that had the job. */
const CHECKPOINT = /^checkpoints\/(job_[^/-]+)-\d+(?:-[^/.]+)?\.safetensors$/;
const IMAGE = /^images\/(img_[^/.]+)\.[a-z]+$/;
const POLICY = /^policies\/(pol_[^/.]+)\.safetensors$/;
const RECORD = /^records\/([a-z]{3}_[^/.]+)\.json$/;

/**
 * Blobs that nothing needs any more: of deleted things, checkpoints that dead workers left, pictures whose record never came to be.
 * Only what was last written before `before` counts, for what is young may be about to be pointed at. Policies and records go only
 * when they were deleted; where storage has some that Redis does not know, Redis was lost, and only what is certain goes.
 * @param options.before milliseconds since 1970
 * @param options.isEmpty whether Redis had no record at all before anything was deleted
 * @param found is given each of them, as soon as it is sure that it may go
 * @returns why some blobs that nothing points at are left alone; null: none are
 */
export async function findOrphans(
  store: Store,
  entries: AsyncIterable<BlobEntry>,
  { before, isEmpty }: { readonly before: number; readonly isEmpty: boolean },
  found: (orphan: Orphan) => Promise<void>,
): Promise<string | null> {
  /** Those that go unless Redis was lost, which only the last blob may tell. */
  let likely: Orphan[] = [];
  let left = 0;
  let unknown = 0;
  for await (const some of inPieces(entries, AT_A_TIME)) {
    const verdicts = await Promise.all(some.map(({ key }) => judge(store, key)));
    for (const [k, verdict] of verdicts.entries()) {
      const { key, bytes, modifiedAt } = some[k];
      if (verdict === 'unknown') unknown++;
      if (verdict === 'needed' || verdict === 'unknown' || modifiedAt >= before) continue;
      const orphan = { key, bytes, reason: verdict.reason };
      if (verdict.isCertain) await found(orphan);
      else likely.push(orphan);
    }
    if (unknown === 0 && !isEmpty) continue;
    left += likely.length;
    likely = [];
  }
  for (const orphan of likely) await found(orphan);
  if (left === 0) return null;
  return `${left} blobs that nothing points at stay, because Redis ${
    isEmpty ? 'is empty' : `does not know ${unknown} records and policies that storage has`
  }: run findery reindex first.`;
}

async function* inPieces<T>(items: AsyncIterable<T>, length: number): AsyncGenerator<T[]> {
  let piece: T[] = [];
  for await (const item of items) {
    if (piece.push(item) < length) continue;
    yield piece;
    piece = [];
  }
  if (piece.length > 0) yield piece;
}

type Verdict = 'needed' | 'unknown' | { readonly isCertain: boolean; readonly reason: string };

async function judge(store: Store, key: string): Promise<Verdict> {
  const [, job] = CHECKPOINT.exec(key) ?? [];
  if (job !== undefined) {
    const record = await store.jobs.find(job);
    if (record)
      return record.checkpoint?.key === key ? 'needed' : surely('a checkpoint that its job does not use');
    return (await isGone(store, job)) ? surely(`${job} was deleted`) : likely(`there is no ${job}`);
  }
  const [, image] = IMAGE.exec(key) ?? [];
  if (image !== undefined) {
    const record = await store.images.find(image);
    if (record) return record.key === key ? 'needed' : surely('its image lies elsewhere');
    return (await isGone(store, image)) ? surely(`${image} was deleted`) : likely(`there is no ${image}`);
  }
  const [, id] = POLICY.exec(key) ?? RECORD.exec(key) ?? [];
  if (id === undefined) return 'needed'; // not ours to judge
  if ((await store.redis.exists(store.keys.record(id))) === 1) return 'needed';
  return (await isGone(store, id)) ? surely(`${id} was deleted`) : 'unknown';
}

const surely = (reason: string): Verdict => ({ isCertain: true, reason });
const likely = (reason: string): Verdict => ({ isCertain: false, reason });

async function isGone({ redis, keys }: Store, id: string): Promise<boolean> {
  return (await redis.exists(keys.gone(id))) === 1;
}

/** Whether Redis has no record at all: nothing was ever done, or it was lost. */
export async function isRedisEmpty({ redis, keys }: Store): Promise<boolean> {
  return (await redis.exists(keys.index('job'), keys.index('smp'), keys.index('pol'))) === 0;
}
