import type { BlobEntry } from '../../storage/blobs.ts';
import type { Store } from '../store.ts';

export interface Orphan {
  readonly key: string;
  readonly bytes: number;
  /** For people. */
  readonly reason: string;
}

export interface Orphans {
  readonly orphans: readonly Orphan[];
  /** Why some blobs that nothing points at are left alone; null: none are. */
  readonly held: string | null;
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
 * @param before milliseconds since 1970
 * @param isEmpty whether Redis had no record at all before anything was deleted
 */
export async function findOrphans(
  store: Store,
  entries: readonly BlobEntry[],
  before: number,
  isEmpty: boolean,
): Promise<Orphans> {
  const certain: Orphan[] = [];
  const likely: Orphan[] = [];
  let unknown = 0;
  for (let i = 0; i < entries.length; i += AT_A_TIME) {
    const some = entries.slice(i, i + AT_A_TIME);
    const verdicts = await Promise.all(some.map(({ key }) => judge(store, key)));
    for (const [k, verdict] of verdicts.entries()) {
      const { key, bytes, modifiedAt } = some[k];
      if (verdict === 'unknown') unknown++;
      if (verdict === 'needed' || verdict === 'unknown' || modifiedAt >= before) continue;
      (verdict.isCertain ? certain : likely).push({ key, bytes, reason: verdict.reason });
    }
  }
  if (likely.length === 0 || (unknown === 0 && !isEmpty)) return { orphans: [...certain, ...likely], held: null };
  return {
    orphans: certain,
    held: `${likely.length} blobs that nothing points at stay, because Redis ${
      isEmpty ? 'is empty' : `does not know ${unknown} records and policies that storage has`
    }: run findery reindex first.`,
  };
}

type Verdict = 'needed' | 'unknown' | { readonly isCertain: boolean; readonly reason: string };

async function judge(store: Store, key: string): Promise<Verdict> {
  const [, job] = CHECKPOINT.exec(key) ?? [];
  if (job !== undefined) {
    const record = await store.jobs.find(job);
    if (record) return record.checkpoint?.key === key ? 'needed' : surely('a checkpoint that its job does not use');
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
