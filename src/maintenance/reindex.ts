import type { JobRecord, PolicyRecord, SampleRecord } from '../contract/records.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import { viewJob } from '../contract/views.ts';
import {
  type Archived,
  isDamage,
  RECORDS,
  REMOVED,
  readArchived,
  readRemoval,
  recordKey,
} from '../jobs/archive.ts';
import type { StreamEvent } from '../records/record-change.ts';
import type { BlobStore } from '../storage/blobs.ts';
import { decodePolicy, PolicyFileError } from '../storage/policy-file.ts';
import type { Store } from '../store/store.ts';
import { indexTenants } from './index-tenants.ts';
import { rebuildPolicy } from './rebuild-policy.ts';

/** What a reindexing did and met. */
export interface Reindexed {
  jobs: number;
  policies: number;
  samples: number;
  images: number;
  /** Deletions that are remembered. */
  removed: number;
  /** Things that Redis knew already; they were left as they are. */
  known: number;
  /** In plain words: records that can't be used, bytes that are missing. */
  readonly problems: string[];
}

/** Records that are read at a time. */
const AT_A_TIME = 16;

/**
 * Makes Redis of storage: finished jobs with their rewards, policies, samples, images, and what was deleted. What Redis knows
 * stays as it is, so that it may run beside a service, and again. What was not finished when Redis was lost is not in storage.
 */
export async function reindex(store: Store, blobs: BlobStore): Promise<Reindexed> {
  await indexTenants(store); // before anything is written: what is made here says whose it is
  const done: Reindexed = { jobs: 0, policies: 0, samples: 0, images: 0, removed: 0, known: 0, problems: [] };
  const gone = await restoreRemovals(store, blobs, done);
  const images = new Set(await Array.fromAsync(blobs.list('images/')));
  const policies = new Set(await Array.fromAsync(blobs.list('policies/')));

  // In the order of their names: jobs, then policies, then samples.
  const records = new Set(await Array.fromAsync(blobs.list(RECORDS)));
  await inParallel([...records], async (key) => {
    const archived = await read(blobs, key, done);
    if (archived && !isGone(archived, gone)) await restore(store, archived, done, images);
    policies.delete(`policies/${archived?.record.id}.safetensors`);
  });
  for (const key of policies) await restoreLonePolicy(store, blobs, key, { gone, records }, done);
  return done;
}

async function restoreRemovals(store: Store, blobs: BlobStore, done: Reindexed): Promise<Set<string>> {
  const gone = new Set<string>();
  await inParallel(await Array.fromAsync(blobs.list(REMOVED)), async (key) => {
    const removal = await readRemoval(blobs, key).catch((error: unknown) => {
      if (!isDamage(error)) throw error;
      done.problems.push(`${key}: ${error.message}`);
      return null;
    });
    if (!removal) return;
    const { id, at, tenant = DEFAULT_TENANT, ids } = removal;
    for (const each of [id, ...ids]) {
      gone.add(each);
      if (await store.redis.set(store.keys.gone(each), `${at} ${tenant}`, 'NX')) {
        done.removed++;
      }
    }
  });
  return gone;
}

/** A sample goes with its policy, also when it was finished while the policy was deleted. */
function isGone({ record }: Archived, gone: ReadonlySet<string>): boolean {
  return (
    gone.has(record.id) ||
    (typeof record.policyId === 'string' && record.id.startsWith('smp_') && gone.has(record.policyId))
  );
}

async function read(blobs: BlobStore, key: string, done: Reindexed): Promise<Archived | null> {
  try {
    return await readArchived(blobs, key);
  } catch (error) {
    if (!isDamage(error)) throw error;
    done.problems.push(`${key}: ${error.message}`);
    return null;
  }
}

async function restore(
  store: Store,
  { kind, record, rewards, images }: Archived,
  done: Reindexed,
  stored: ReadonlySet<string>,
): Promise<void> {
  const { id } = record;
  if (await isKnown(store, id)) {
    done.known++;
    return;
  }
  for (const image of images) {
    if (!stored.has(image.key))
      done.problems.push(`${id}: the bytes of its image ${image.id} are not in storage`);
    await store.images.create(image, { parent: id, onlyNew: true });
    done.images++;
  }
  // The record comes last: one that was broken off is done over.
  if (kind === 'job') {
    const job = record as unknown as JobRecord;
    await restoreRewards(store, id, rewards);
    // A failed one can be tried again, and its deadline counts then.
    const deadline = job.deadline === null ? undefined : Date.parse(job.deadline);
    await store.jobs.create(job, { events: endOf(job), onlyNew: true, deadline });
    done.jobs++;
  } else if (kind === 'smp') {
    const sample = record as unknown as SampleRecord;
    await store.samples.create(sample, {
      ...(sample.policyId ? { parent: sample.policyId } : {}),
      onlyNew: true,
    });
    done.samples++;
  } else {
    await store.policies.create(record as unknown as PolicyRecord, { onlyNew: true });
    done.policies++;
  }
}

/** What a follower of a job that has ended needs; the events on the way are not kept in storage. */
function endOf(job: JobRecord): StreamEvent[] {
  return [
    { type: 'status', data: { status: job.status, stage: 'ended' } },
    { type: 'done', data: viewJob(job, null) },
  ];
}

async function restoreRewards(store: Store, id: string, rewards: readonly string[]): Promise<void> {
  const key = store.keys.rewards(id);
  const commands = store.redis.multi().del(key);
  for (let i = 0; i < rewards.length; i += 1000) commands.rpush(key, ...rewards.slice(i, i + 1000));
  await commands.exec();
}

/** A policy whose record was never archived (findery 0.1.0) or is damaged: the file tells of itself. */
async function restoreLonePolicy(
  store: Store,
  blobs: BlobStore,
  key: string,
  { gone, records }: { readonly gone: ReadonlySet<string>; readonly records: ReadonlySet<string> },
  done: Reindexed,
): Promise<void> {
  const [, id] = /^policies\/(pol_[0-9a-z]{26})\.safetensors$/.exec(key) ?? [];
  if (id === undefined || gone.has(id)) return;
  if (await isKnown(store, id)) {
    done.known++;
    return;
  }
  const bytes = await blobs.get(key);
  if (!bytes) return;
  try {
    const { distribution, metadata } = decodePolicy(bytes, null);
    const job = await store.jobs.find(`job_${id.slice(4)}`);
    if (!job && records.has(recordKey(id))) {
      done.problems.push(`${key}: whose it is was in its record, which is damaged; it is not restored`);
      return;
    }
    const [stored] = await Array.fromAsync(blobs.entries(key));
    const policy = rebuildPolicy(id, bytes, distribution, metadata, job, stored?.modifiedAt ?? Date.now());
    await store.policies.create(policy, { onlyNew: true });
    done.policies++;
  } catch (error) {
    if (!(error instanceof PolicyFileError)) throw error;
    done.problems.push(
      `${key}: it has no record (${recordKey(id)}), and its file does not tell enough: ${error.message}`,
    );
  }
}

async function isKnown({ redis, keys }: Store, id: string): Promise<boolean> {
  return (await redis.exists(keys.record(id))) === 1;
}

/** Does `work` for each of `items`, `AT_A_TIME` at once. */
async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  const worker = async () => {
    for (const item of left) await work(item);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
}
