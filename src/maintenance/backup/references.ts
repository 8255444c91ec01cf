import { derivedId, type IdKind } from '../../contract/ids.ts';
import type { ImageRecord, JobRecord, PolicyRecord, SampleRecord } from '../../contract/records.ts';
import { FINAL_STATUSES } from '../../contract/schemas/job.ts';
import { recordKey, removalKey } from '../../jobs/archive.ts';
import { policyFileKey } from '../../jobs/stored-files.ts';
import { type AnyRecord, decodeRecord, type RecordHash } from '../../records/record-codec.ts';
import type { KeyCopy } from './redis-keys.ts';

/** A blob that a record needs. */
export interface NeededFile {
  readonly key: string;
  /** Hexadecimal hash of its bytes; undefined when the record does not have it. */
  readonly sha256?: string;
}

/** What a copied record refers to. */
export interface References {
  readonly record: AnyRecord;
  /** Ids of records without which it is not whole: policy, samples and images of ended work. */
  readonly records: readonly string[];
  /** Blobs without which it is not whole. */
  readonly files: readonly NeededFile[];
  /** Key of its archived record, which older work may lack; null when it has none yet. */
  readonly archived: string | null;
  /** Whether it is work that has not ended. */
  readonly isUnfinished: boolean;
}

/** The id of the record that a key of Redis (without prefix) holds; null for other keys. */
export function recordIdOf(key: string): string | null {
  return key.startsWith('record:') ? key.slice('record:'.length) : null;
}

/**
 * What the record among these keys refers to; null when there is no record among them.
 * @param group the copies of the keys of one record
 * @throws RecordVersionError when a newer release wrote the record
 */
export function referencesOf(group: readonly KeyCopy[]): References | null {
  const hash = group.find(({ key }) => recordIdOf(key) !== null);
  const id = recordIdOf(hash?.key ?? '');
  if (!hash || id === null) return null;
  const kind = id.slice(0, 3) as IdKind;
  const decoded = decodeRecord<AnyRecord>(kind, hashOf(hash.value as readonly string[]));
  if (decoded === null) return null;
  const children = (group.find(({ key }) => key === `children:${id}`)?.value ?? []) as readonly string[];
  return { record: decoded.record, ...partsOf(kind, decoded.record, children) };
}

function partsOf(kind: IdKind, record: AnyRecord, children: readonly string[]): Omit<References, 'record'> {
  const none = { records: [], files: [], archived: null, isUnfinished: false };
  const archived = recordKey(record.id);
  switch (kind) {
    case 'job': {
      // A record of Redis has the fields of its kind: findery wrote it.
      const { status, checkpoint, policyId, sampleId } = record as AnyRecord as JobRecord;
      const files = checkpoint === null ? [] : [{ key: checkpoint.key, sha256: checkpoint.sha256 }];
      if (!FINAL_STATUSES.includes(status)) return { ...none, records: children, files, isUnfinished: true };
      const results = [policyId, sampleId].filter((id) => id !== null);
      // The checkpoint of other ended jobs is deleted, though their records still name it.
      const needed = status === 'failed' ? files : [];
      return { ...none, records: [...results, ...children], files: needed, archived };
    }
    case 'smp':
      return FINAL_STATUSES.includes((record as AnyRecord as SampleRecord).status)
        ? { ...none, records: children, archived }
        : { ...none, isUnfinished: true };
    case 'pol': {
      const { id, sha256 } = record as AnyRecord as PolicyRecord;
      return { ...none, files: [{ key: policyFileKey(id), sha256 }], archived };
    }
    case 'img': {
      const { key, sha256 } = record as AnyRecord as ImageRecord;
      return { ...none, files: [{ key, sha256 }] };
    }
    default:
      return none;
  }
}

/**
 * Keys of the notes in storage that a record was deleted, any of which suffices: Redis forgets it
 * after a while. The samples of a job are deleted with its policy.
 */
export function removalKeysOf(id: string): string[] {
  return [removalKey(id), ...(id.startsWith('smp_') ? [removalKey(derivedId('pol', id))] : [])];
}

/** A hash from names and values, alternately. */
export function hashOf(flat: readonly string[]): RecordHash {
  const hash: Record<string, string> = {};
  for (let i = 0; i < flat.length; i += 2) hash[flat[i]] = flat[i + 1];
  return hash;
}
