import type { IdKind } from '../contract/ids.ts';
import type { ImageRecord, JobRecord, PolicyRecord, SampleRecord } from '../contract/records.ts';
import { FINAL_STATUSES } from '../contract/schemas/job.ts';
import { currentVersion, type Fields, migrate } from '../records/migrations.ts';
import { type BlobStore, DamagedBlobError } from '../storage/blobs.ts';
import { decodeRecord, encodeRecord, RecordFileError } from '../storage/record-file.ts';
import type { Store } from '../store/store.ts';

/**
 * What has ended, in storage beside its bytes: jobs with their rewards and previews, samples with their images, policies, and
 * what was deleted. `findery reindex` makes Redis of it again.
 *
 * A record is archived BEFORE Redis says that it has ended, so that nothing a client saw as finished can be lost with Redis. When
 * the change of Redis then does not come to pass, what the archive says is overwritten by whoever ends it (`archiveEnded`).
 */
export interface Archived {
  readonly kind: IdKind;
  readonly record: { readonly id: string } & Fields;
  /** Of a job: "iteration,reward" of every draw, as Redis keeps them. */
  readonly rewards: readonly string[];
  /** Images of a sample, previews of a job. */
  readonly images: readonly ImageRecord[];
}

/** What was deleted, and what went with it. */
export interface Removal {
  readonly id: string;
  /** RFC 3339. */
  readonly at: string;
  readonly tenant?: string;
  /** Ids of the samples and images that went with it. */
  readonly ids: readonly string[];
}

export const RECORDS = 'records/';
export const REMOVED = 'removed/';
export const recordKey = (id: string) => `${RECORDS}${id}.json`;
export const removalKey = (id: string) => `${REMOVED}${id}.json`;

/** Keeps a job that has ended, or is about to. */
export async function archiveJob(store: Store, blobs: BlobStore, record: JobRecord): Promise<void> {
  const rewards = await store.redis.lrange(store.keys.rewards(record.id), 0, -1);
  const images = await imagesOf(store, await store.jobs.children(record.id));
  await write(blobs, 'job', record, { rewards, images });
}

/** Keeps a batch of samples that has ended, or is about to. */
export async function archiveSample(store: Store, blobs: BlobStore, record: SampleRecord): Promise<void> {
  await write(blobs, 'smp', record, {
    images: await imagesOf(store, await store.samples.children(record.id)),
  });
}

/** Keeps what is known of a policy; its file is to be stored before. */
export async function archivePolicy(blobs: BlobStore, record: PolicyRecord): Promise<void> {
  await write(blobs, 'pol', record, {});
}

/** Keeps what has this id as Redis has it, if it has ended: for workers whose own end came too late, and for the sweep. */
export async function archiveEnded(store: Store, blobs: BlobStore, id: string): Promise<void> {
  const job = await store.jobs.find(id);
  if (job && FINAL_STATUSES.includes(job.status)) await archiveJob(store, blobs, job);
  const sample = await store.samples.find(id);
  if (sample && FINAL_STATUSES.includes(sample.status)) await archiveSample(store, blobs, sample);
  const policy = await store.policies.find(id);
  if (policy) await archivePolicy(blobs, policy);
}

/** Remembers a deletion; to be called before anything is deleted. */
export async function archiveRemoval(blobs: BlobStore, removal: Removal): Promise<void> {
  await blobs.put(removalKey(removal.id), encodeRecord({ kind: 'removal', ...removal }));
}

/**
 * A record that was archived, in the form of this findery; null: there is none.
 * @throws RecordFileError, DamagedBlobError or RecordVersionError when it can't be used
 */
export async function readArchived(blobs: BlobStore, key: string): Promise<Archived | null> {
  const bytes = await blobs.get(key);
  if (!bytes) return null;
  const { kind, version, record, rewards = [], images = [], imageVersion = 0 } = decodeRecord(bytes);
  if (kind !== 'job' && kind !== 'smp' && kind !== 'pol')
    throw new RecordFileError(`${key} is no record of a thing.`);
  return {
    kind,
    record: migrate(kind, record as Fields, Number(version)) as Archived['record'],
    rewards: rewards as string[],
    images: (images as Fields[]).map(
      (image) => migrate('img', image, Number(imageVersion)) as unknown as ImageRecord,
    ),
  };
}

/** A deletion that was remembered. */
export async function readRemoval(blobs: BlobStore, key: string): Promise<Removal | null> {
  const bytes = await blobs.get(key);
  return bytes && (decodeRecord(bytes) as unknown as Removal);
}

/** Whether an archived record can't be used, for good, and why: anything else is worth another try. */
export function isDamage(error: unknown): error is Error {
  return error instanceof RecordFileError || error instanceof DamagedBlobError;
}

async function write(
  blobs: BlobStore,
  kind: IdKind,
  record: { readonly id: string },
  more: { readonly rewards?: readonly string[]; readonly images?: readonly ImageRecord[] },
): Promise<void> {
  const version = currentVersion(kind);
  const body = { kind, version, record, imageVersion: currentVersion('img'), ...more };
  await blobs.put(recordKey(record.id), encodeRecord(body));
}

async function imagesOf(store: Store, ids: readonly string[]): Promise<ImageRecord[]> {
  const records = await Promise.all(ids.toSorted().map((id) => store.images.find(id)));
  return records.filter((record) => record !== null);
}
