import { type BlobStore, DamagedBlobError } from '../../storage/blobs.ts';
import { RecordFileError } from '../../storage/record-file.ts';
import { forEachInParallel } from '../parallel.ts';
import { BLOB_PREFIX, RestoreError, readContents, readPiece } from './contents.ts';
import type { KeyCopy } from './redis-keys.ts';
import { type NeededFile, referencesOf, removalKeysOf } from './references.ts';

/** What a backup holds, and what it lacks. */
export interface Verification {
  /** RFC 3339: when it was made. */
  readonly createdAt: string;
  readonly keys: number;
  readonly blobs: number;
  readonly jobs: number;
  readonly samples: number;
  readonly policies: number;
  readonly images: number;
  /** What is missing or damaged, as sentences without a final period. */
  readonly problems: readonly string[];
}

const CONCURRENT_BLOBS = 8;

/**
 * Reads a whole backup: every blob has its SHA-256, every key is there, and every record has the
 * records and files that it refers to. Nothing is changed.
 * @throws RestoreError when it has no contents or a newer version
 */
export async function verifyBackup(source: BlobStore): Promise<Verification> {
  const contents = await readContents(source);
  const problems: string[] = [];
  await forEachInParallel(Object.entries(contents.blobs), CONCURRENT_BLOBS, async ([key, sha256]) => {
    const bytes = await source.get(BLOB_PREFIX + key, { sha256 }).catch(noteDamage(problems));
    if (bytes === null) problems.push(`the blob ${key} is missing`);
  });

  const needed = new Map<
    string,
    { readonly records: readonly string[]; readonly files: readonly NeededFile[] }
  >();
  const children = new Map<string, readonly string[]>();
  const gone = new Set<string>();
  let keys = 0;
  for (let piece = 0; piece < contents.pieces; piece++) {
    const copies = await readPiece(source, piece).catch(noteDamage(problems));
    for (const copy of copies ?? []) {
      keys++;
      const references = referencesOf([copy]);
      if (references) needed.set(references.record.id, references);
      else note(copy, children, gone);
    }
  }
  if (keys !== contents.keys) problems.push(`it has ${keys} of ${contents.keys} keys`);
  const isRemoved = (id: string) => gone.has(id) || removalKeysOf(id).some((key) => key in contents.blobs);
  for (const [id, { records, files }] of needed) {
    for (const other of [...records, ...(children.get(id) ?? [])])
      if (!needed.has(other) && !isRemoved(other)) problems.push(`${id}: its ${other} is missing`);
    for (const { key, sha256 } of files) {
      const stored = contents.blobs[key];
      if (stored === undefined) problems.push(`${id}: its file ${key} is missing`);
      else if (sha256 !== undefined && stored !== sha256)
        problems.push(`${id}: its file ${key} has the SHA-256 ${stored}, not ${sha256}`);
    }
  }
  const count = (kind: string) => [...needed.keys()].filter((id) => id.startsWith(kind)).length;
  return {
    createdAt: contents.createdAt,
    keys,
    blobs: Object.keys(contents.blobs).length,
    jobs: count('job_'),
    samples: count('smp_'),
    policies: count('pol_'),
    images: count('img_'),
    problems: problems.sort(),
  };
}

/** Notes the children of a record that has ended, or a deletion. */
function note(copy: KeyCopy, children: Map<string, readonly string[]>, gone: Set<string>): void {
  const [, name, id] = /^(children|gone):(.+)$/.exec(copy.key) ?? [];
  if (name === 'gone') gone.add(id);
  // Samples of a policy are made after it, so the copy of a policy may name some that it lacks.
  else if (name === 'children' && !id.startsWith('pol_')) children.set(id, copy.value as readonly string[]);
}

/** Notes damage of a part, which is then left out. */
function noteDamage(problems: string[]): (error: unknown) => undefined {
  return (error) => {
    if (
      !(
        error instanceof DamagedBlobError ||
        error instanceof RecordFileError ||
        error instanceof RestoreError
      )
    )
      throw error;
    problems.push(error.message.replace(/\.$/, ''));
    return undefined;
  };
}
