import type { IdKind } from '../contract/ids.ts';
import type { ImageRecord, JobRecord, PolicyRecord, SampleRecord } from '../contract/records.ts';
import { FINAL_STATUSES } from '../contract/schemas/job.ts';
import { currentVersion, type Fields, migrate } from '../records/migrations.ts';
import { type BlobStore, DamagedBlobError } from '../storage/blobs.ts';
import { decodeRecordFile, encodeRecordFile, RecordFileError } from '../storage/record-file.ts';
import type { Store } from '../store/store.ts';

/**
 * The archive: records of ended work in storage, beside their bytes. It holds jobs with their
 * rewards and previews, samples with their images, policies, and notes of what was deleted.
 * `findery reindex` rebuilds Redis from it.
 *
 * A record is archived BEFORE Redis says that it has ended, so that nothing that a client saw as
 * finished is lost with Redis. If the change of Redis is refused afterwards, `archiveEnded`
 * replaces the archived record by the one that Redis has.
 */

/** A record as the archive holds it. */
export type ArchivedRecord = (
  | { readonly kind: 'job'; readonly record: JobRecord }
  | { readonly kind: 'smp'; readonly record: SampleRecord }
  | { readonly kind: 'pol'; readonly record: PolicyRecord }
) & {
  /** Of a job: one text "iteration,reward,..." per picture of its search, as Redis stores them. */
  readonly rewards: readonly string[];
  /** Images of a sample, previews of a job. */
  readonly images: readonly ImageRecord[];
};

/** A note of a deletion. */
export interface Removal {
  readonly id: string;
  /** RFC 3339. */
  readonly at: string;
  readonly tenant?: string;
  /** Ids of the samples and images that were deleted with it. */
  readonly ids: readonly string[];
}

/** Rewards that one command of Redis reads for the archive. */
const REWARDS_PER_READ = 5000;

/** Prefix of the keys of archived records. */
export const RECORD_PREFIX = 'records/';
/** Prefix of the keys of notes of deletions. */
export const REMOVAL_PREFIX = 'removed/';

/** The key of an archived record. */
export const recordKey = (id: string) => `${RECORD_PREFIX}${id}.json`;
/** The key of the note of a deletion. */
export const removalKey = (id: string) => `${REMOVAL_PREFIX}${id}.json`;

/** Archives a job that has ended or is about to, with its rewards and previews. */
export async function archiveJob(store: Store, blobs: BlobStore, record: JobRecord): Promise<void> {
  const rewards = await readRewards(store, record.id);
  const images = await findImages(store, await store.jobs.children(record.id));
  await write(blobs, 'job', record, { rewards, images });
}

/** Reads the rewards of a job a page at a time; one of all would keep Redis from others. */
async function readRewards({ redis, keys }: Store, id: string): Promise<string[]> {
  const rewards: string[] = [];
  for (;;) {
    const page = await redis.lrange(keys.rewards(id), rewards.length, rewards.length + REWARDS_PER_READ - 1);
    rewards.push(...page);
    if (page.length < REWARDS_PER_READ) return rewards;
  }
}

/** Archives a batch of samples that has ended or is about to, with its images. */
export async function archiveSample(store: Store, blobs: BlobStore, record: SampleRecord): Promise<void> {
  const images = await findImages(store, await store.samples.children(record.id));
  await write(blobs, 'smp', record, { images });
}

/** Archives the record of a policy. Its file has to be in storage already. */
export async function archivePolicy(blobs: BlobStore, record: PolicyRecord): Promise<void> {
  await write(blobs, 'pol', record, {});
}

/** Archives the record with this id as Redis has it, if it has ended. */
export async function archiveEnded(store: Store, blobs: BlobStore, id: string): Promise<void> {
  const job = await store.jobs.find(id);
  if (job && FINAL_STATUSES.includes(job.status)) await archiveJob(store, blobs, job);
  const sample = await store.samples.find(id);
  if (sample && FINAL_STATUSES.includes(sample.status)) await archiveSample(store, blobs, sample);
  const policy = await store.policies.find(id);
  if (policy) await archivePolicy(blobs, policy);
}

/** Notes a deletion. Call it before anything is deleted. */
export async function archiveRemoval(blobs: BlobStore, removal: Removal): Promise<void> {
  await blobs.put(removalKey(removal.id), encodeRecordFile({ kind: 'removal', ...removal }));
}

/**
 * Reads an archived record and migrates it to the current version; null if there is none.
 * @throws RecordFileError, DamagedBlobError or RecordVersionError if it can't be used
 */
export async function readArchived(blobs: BlobStore, key: string): Promise<ArchivedRecord | null> {
  const bytes = await blobs.get(key);
  if (!bytes) return null;
  const { kind, version, record, rewards = [], images = [], imageVersion = 0 } = decodeRecordFile(bytes);
  const parts = {
    rewards: rewards as string[],
    images: (images as unknown[]).map((image) => toCurrent<ImageRecord>('img', image, imageVersion)),
  };
  switch (kind) {
    case 'job':
      return { kind, record: toCurrent<JobRecord>(kind, record, version), ...parts };
    case 'smp':
      return { kind, record: toCurrent<SampleRecord>(kind, record, version), ...parts };
    case 'pol':
      return { kind, record: toCurrent<PolicyRecord>(kind, record, version), ...parts };
    default:
      throw new RecordFileError(
        `The record ${key} has the kind ${JSON.stringify(kind)}; ` +
          'an archived record has "job", "smp" or "pol".',
      );
  }
}

/** Migrates a record. The current version of a kind has the fields of its type. */
function toCurrent<T>(kind: IdKind, record: unknown, version: unknown): T {
  return migrate(kind, record as Fields, Number(version)) as T;
}

/** Reads the note of a deletion; null if there is none. */
export async function readRemoval(blobs: BlobStore, key: string): Promise<Removal | null> {
  const bytes = await blobs.get(key);
  // The hash that decodeRecordFile checks says that the body is as archiveRemoval wrote it.
  return bytes && (decodeRecordFile(bytes) as unknown as Removal);
}

/** Whether an archived record is damaged for good. After other errors, another try may succeed. */
export function isDamage(error: unknown): error is Error {
  return error instanceof RecordFileError || error instanceof DamagedBlobError;
}

async function write(
  blobs: BlobStore,
  kind: IdKind,
  record: { readonly id: string },
  parts: { readonly rewards?: readonly string[]; readonly images?: readonly ImageRecord[] },
): Promise<void> {
  const version = currentVersion(kind);
  const body = { kind, version, record, imageVersion: currentVersion('img'), ...parts };
  await blobs.put(recordKey(record.id), encodeRecordFile(body));
}

/** The records of these images, sorted by id; ids without a record are left out. */
export async function findImages(store: Store, ids: readonly string[]): Promise<ImageRecord[]> {
  const records = await Promise.all(ids.toSorted().map((id) => store.images.find(id)));
  return records.filter((record) => record !== null);
}
