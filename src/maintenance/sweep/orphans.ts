import { FINAL_STATUSES } from '../../contract/schemas/job.ts';
import type { BlobEntry } from '../../storage/blobs.ts';
import type { Store } from '../../store/store.ts';

/** A blob that no record needs. */
export interface Orphan {
  readonly key: string;
  readonly bytes: number;
  /** Why it is an orphan, as a phrase for people. */
  readonly reason: string;
}

/** Blobs whose records are looked up at the same time. */
const BATCH_SIZE = 100;
/**
 * The key of a checkpoint ends in its iteration (0.1.0), or in that and the worker's lease token.
 */
const CHECKPOINT = /^checkpoints\/(job_[^/-]+)-\d+(?:-[^/.]+)?\.safetensors$/;
const IMAGE = /^images\/(img_[^/.]+)\.[a-z]+$/;
const POLICY = /^policies\/(pol_[^/.]+)\.safetensors$/;
/** Files of shares of an evaluation, which ends with its job at the latest. */
const SHARE = /^shares\/(job_[^/-]+)-[^/]+\.safetensors$/;
const RECORD = /^records\/([a-z]{3}_[^/.]+)\.json$/;

/**
 * Finds blobs that no record needs: those of deleted records, checkpoints that dead workers left,
 * images whose record was never written. Only blobs that were last written before `before` count,
 * because the record of a younger one may be about to be written. A policy or archived record is an
 * orphan only if its deletion was noted. If storage has some that Redis does not know, Redis was
 * lost; then only blobs that are certain orphans count.
 * @param options.before milliseconds since 1970
 * @param options.isEmpty whether Redis had no record when the sweep began
 * @param onOrphan called with each orphan, once it may be deleted
 * @returns a warning when Redis seems to be lost and orphans were left alone; null otherwise
 */
export async function findOrphans(
  store: Store,
  entries: AsyncIterable<BlobEntry>,
  { before, isEmpty }: { readonly before: number; readonly isEmpty: boolean },
  onOrphan: (orphan: Orphan) => Promise<void>,
): Promise<string | null> {
  /** Orphans unless Redis was lost, which is known only after the last blob. */
  let likely: Orphan[] = [];
  let skipped = 0;
  let unknown = 0;
  for await (const batch of inBatches(entries, BATCH_SIZE)) {
    const verdicts = await Promise.all(batch.map(({ key }) => classify(store, key)));
    for (const [k, verdict] of verdicts.entries()) {
      const { key, bytes, modifiedAt } = batch[k];
      if (verdict === 'unknown') unknown++;
      if (verdict === 'needed' || verdict === 'unknown' || modifiedAt >= before) continue;
      const orphan = { key, bytes, reason: verdict.reason };
      if (verdict.isCertain) await onOrphan(orphan);
      else likely.push(orphan);
    }
    if (unknown === 0 && !isEmpty) continue;
    skipped += likely.length;
    likely = [];
  }
  for (const orphan of likely) await onOrphan(orphan);
  if (skipped === 0) return null;
  const reason = isEmpty ? 'is empty' : `does not have ${unknown} records and policies that storage has`;
  return `${skipped} orphaned blobs were not deleted, because Redis ${reason}. Run findery reindex first.`;
}

async function* inBatches<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<T[]> {
  let batch: T[] = [];
  for await (const item of items) {
    if (batch.push(item) < size) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/**
 * `unknown`: storage has a policy or record that Redis does not know, so Redis may have been lost.
 */
type Verdict = 'needed' | 'unknown' | { readonly isCertain: boolean; readonly reason: string };

async function classify(store: Store, key: string): Promise<Verdict> {
  const [, job] = CHECKPOINT.exec(key) ?? [];
  if (job !== undefined) {
    const record = await store.jobs.find(job);
    if (record) return record.checkpoint?.key === key ? 'needed' : certain('its job has another checkpoint');
    return (await isGone(store, job)) ? certain(`${job} was deleted`) : likely(`${job} does not exist`);
  }
  const [, sharedJob] = SHARE.exec(key) ?? [];
  if (sharedJob !== undefined) {
    const record = await store.jobs.find(sharedJob);
    if (record) return FINAL_STATUSES.includes(record.status) ? certain('its job has ended') : 'needed';
    return (await isGone(store, sharedJob))
      ? certain(`${sharedJob} was deleted`)
      : likely(`${sharedJob} does not exist`);
  }
  const [, image] = IMAGE.exec(key) ?? [];
  if (image !== undefined) {
    const record = await store.images.find(image);
    if (record) return record.key === key ? 'needed' : certain('its image has another blob');
    return (await isGone(store, image)) ? certain(`${image} was deleted`) : likely(`${image} does not exist`);
  }
  const [, id] = POLICY.exec(key) ?? RECORD.exec(key) ?? [];
  if (id === undefined) return 'needed'; // a blob of another kind
  if ((await store.redis.exists(store.keys.record(id))) === 1) return 'needed';
  return (await isGone(store, id)) ? certain(`${id} was deleted`) : 'unknown';
}

const certain = (reason: string): Verdict => ({ isCertain: true, reason });
const likely = (reason: string): Verdict => ({ isCertain: false, reason });

async function isGone({ redis, keys }: Store, id: string): Promise<boolean> {
  return (await redis.exists(keys.gone(id))) === 1;
}

/** Whether Redis has no job, sample or policy: the service is new, or Redis was lost. */
export async function isRedisEmpty({ redis, keys }: Store): Promise<boolean> {
  return (await redis.exists(keys.index('job'), keys.index('smp'), keys.index('pol'))) === 0;
}
