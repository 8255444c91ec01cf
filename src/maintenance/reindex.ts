import type { JobRecord } from '../contract/records.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import { viewJob } from '../contract/views.ts';
import {
  type ArchivedRecord,
  isDamage,
  RECORD_PREFIX,
  REMOVAL_PREFIX,
  readArchived,
  readRemoval,
  recordKey,
} from '../jobs/archive.ts';
import { policyFileKey } from '../jobs/stored-files.ts';
import type { StreamEvent } from '../records/record-change.ts';
import { GONE_SECONDS } from '../records/records.ts';
import { countUsage } from '../records/usage.ts';
import type { BlobStore } from '../storage/blobs.ts';
import { decodePolicy, PolicyFileError } from '../storage/policy-file.ts';
import type { Store } from '../store/store.ts';
import { indexTenants } from './index-tenants.ts';
import { forEachInParallel } from './parallel.ts';
import { rebuildPolicy } from './rebuild-policy.ts';

/** What a reindex did and found. */
export interface ReindexReport {
  jobs: number;
  policies: number;
  samples: number;
  images: number;
  /** Deletions that Redis knows again. */
  removed: number;
  /** Records that Redis already had; they were not changed. */
  known: number;
  /** Damaged records and missing blobs, as sentences. */
  readonly problems: string[];
}

/** Records that are read at the same time. */
const CONCURRENT_RECORDS = 16;

/**
 * Rebuilds Redis from storage: ended jobs with their rewards, policies, samples, images, and the
 * notes of deletions. Existing records are not changed, so it may be repeated, and may run beside a
 * service. Work that was unfinished when Redis was lost is not in storage.
 */
export async function reindex(store: Store, blobs: BlobStore): Promise<ReindexReport> {
  await indexTenants(store); // first, because the records that are restored name their tenants
  const report: ReindexReport = {
    jobs: 0,
    policies: 0,
    samples: 0,
    images: 0,
    removed: 0,
    known: 0,
    problems: [],
  };
  const gone = await restoreRemovals(store, blobs, report);
  const images = new Set(await Array.fromAsync(blobs.list('images/')));
  const policies = new Set(await Array.fromAsync(blobs.list('policies/')));

  // Sorted by key: jobs, then policies, then samples.
  const records = new Set(await Array.fromAsync(blobs.list(RECORD_PREFIX)));
  await forEachInParallel([...records], CONCURRENT_RECORDS, async (key) => {
    const archived = await readRecord(blobs, key, report);
    if (archived && !isGone(archived, gone)) {
      await restoreRecord(store, archived, report, images);
      const { kind, record } = archived;
      if (kind !== 'pol') await countUsage(store.redis, store.keys, kind, record, new Date());
    }
    if (archived) policies.delete(policyFileKey(archived.record.id));
  });
  for (const key of policies) await restorePolicyFile(store, blobs, key, { gone, records }, report);
  return report;
}

async function restoreRemovals(store: Store, blobs: BlobStore, report: ReindexReport): Promise<Set<string>> {
  const gone = new Set<string>();
  const removalKeys = await Array.fromAsync(blobs.list(REMOVAL_PREFIX));
  await forEachInParallel(removalKeys, CONCURRENT_RECORDS, async (key) => {
    const removal = await readRemoval(blobs, key).catch((error: unknown) => {
      if (!isDamage(error)) throw error;
      report.problems.push(`${key}: ${error.message}`);
      return null;
    });
    if (!removal) return;
    const { id, at, tenant = DEFAULT_TENANT, ids } = removal;
    for (const each of [id, ...ids]) {
      gone.add(each);
      const seconds = Math.ceil((Date.parse(at) - Date.now()) / 1000) + GONE_SECONDS;
      if (seconds <= 0) continue;
      if (await store.redis.set(store.keys.gone(each), `${at} ${tenant}`, 'EX', seconds, 'NX')) {
        report.removed++;
      }
    }
  });
  return gone;
}

/**
 * Whether a record was deleted. A sample is also gone when its policy is: it may have ended while
 * the policy was being deleted.
 */
function isGone({ kind, record }: ArchivedRecord, gone: ReadonlySet<string>): boolean {
  return gone.has(record.id) || (kind === 'smp' && record.policyId !== null && gone.has(record.policyId));
}

async function readRecord(
  blobs: BlobStore,
  key: string,
  report: ReindexReport,
): Promise<ArchivedRecord | null> {
  try {
    return await readArchived(blobs, key);
  } catch (error) {
    if (!isDamage(error)) throw error;
    report.problems.push(`${key}: ${error.message}`);
    return null;
  }
}

async function restoreRecord(
  store: Store,
  { kind, record, rewards, images }: ArchivedRecord,
  report: ReindexReport,
  stored: ReadonlySet<string>,
): Promise<void> {
  const { id } = record;
  if (await isKnown(store, id)) {
    report.known++;
    return;
  }
  for (const image of images) {
    if (!stored.has(image.key)) report.problems.push(`${id}: the blob of its image ${image.id} is missing`);
    await store.images.create(image, { parent: id, onlyNew: true });
    report.images++;
  }
  // The record is written last, so an interrupted restore of it is repeated.
  if (kind === 'job') {
    await restoreRewards(store, id, rewards);
    // A failed job can be retried, and then its deadline applies.
    const deadline = record.deadline === null ? undefined : Date.parse(record.deadline);
    await store.jobs.create(record, { events: endOf(record), onlyNew: true, deadline });
    report.jobs++;
  } else if (kind === 'smp') {
    await store.samples.create(record, {
      ...(record.policyId ? { parent: record.policyId } : {}),
      onlyNew: true,
    });
    report.samples++;
  } else {
    await store.policies.create(record, { onlyNew: true });
    report.policies++;
  }
}

/** The events that a follower of an ended job needs. The archive has no earlier events. */
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

/**
 * Restores a policy from its file alone: its record was never archived (findery 0.1.0) or is
 * damaged.
 */
async function restorePolicyFile(
  store: Store,
  blobs: BlobStore,
  key: string,
  { gone, records }: { readonly gone: ReadonlySet<string>; readonly records: ReadonlySet<string> },
  report: ReindexReport,
): Promise<void> {
  const [, id] = /^policies\/(pol_[0-9a-z]{26})\.safetensors$/.exec(key) ?? [];
  if (id === undefined || gone.has(id)) return;
  if (await isKnown(store, id)) {
    report.known++;
    return;
  }
  const bytes = await blobs.get(key);
  if (!bytes) return;
  try {
    const { distribution, metadata } = decodePolicy(bytes, null);
    const job = await store.jobs.find(`job_${id.slice(4)}`);
    if (!job && records.has(recordKey(id))) {
      report.problems.push(
        `${key}: not restored, because only its record, which is damaged, tells its tenant`,
      );
      return;
    }
    const [stored] = await Array.fromAsync(blobs.entries(key));
    const policy = rebuildPolicy(id, bytes, distribution, metadata, job, stored?.modifiedAt ?? Date.now());
    await store.policies.create(policy, { onlyNew: true });
    report.policies++;
  } catch (error) {
    if (!(error instanceof PolicyFileError)) throw error;
    report.problems.push(
      `${key}: it has no record (${recordKey(id)}), and its file can't replace it: ${error.message}`,
    );
  }
}

async function isKnown({ redis, keys }: Store, id: string): Promise<boolean> {
  return (await redis.exists(keys.record(id))) === 1;
}
