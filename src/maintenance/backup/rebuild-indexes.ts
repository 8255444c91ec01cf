import type { IdKind } from '../../contract/ids.ts';
import type { JobRecord, SampleRecord } from '../../contract/records.ts';
import type { Store } from '../../store/store.ts';
import type { KeyCopy } from './redis-keys.ts';
import { hashOf, recordIdOf, referencesOf } from './references.ts';

/*
 * A backup copies keys one after another, so an index in it may lack a record that was copied
 * later, or have one that was not copied. Restoring makes the indexes again from the records.
 */

/** Whether `indexRecord` makes this key again, so that its copy is not restored. */
export function isRebuilt({ key, type }: KeyCopy): boolean {
  return (type === 'zset' && /^(index:|deadlines$)/.test(key)) || key === 'bytes';
}

/**
 * Adds a copied record to the indexes of its kind and tenant, to the deadlines, to the children of
 * its policy and to the stored bytes of its tenant. Call it before the record is restored: a record
 * that is replaced does not count twice. Keys that are no record are ignored.
 */
export async function indexRecord({ redis, keys }: Store, copy: KeyCopy): Promise<void> {
  const id = recordIdOf(copy.key);
  const record = referencesOf([copy])?.record;
  if (id === null || !record) return;
  const { tenant } = record;
  const kind = id.slice(0, 3) as IdKind;
  const sizesOf = (sizes: readonly unknown[]) =>
    sizes.reduce<number>((sum, size) => sum + Number(size ?? 0), 0);
  const hash = hashOf(copy.value as readonly string[]);
  const bytes = sizesOf([hash.bytes, hash._counted]);
  const replaced = sizesOf(await redis.hmget(keys.record(id), 'bytes', '_counted'));
  const commands = redis.multi().zadd(keys.index(kind), 0, id).zadd(keys.index(kind, tenant), 0, id);
  if (bytes !== replaced) commands.hincrby(keys.storedBytes(), tenant, bytes - replaced);
  // A record of Redis has the fields of its kind: findery wrote it.
  if (kind === 'job') {
    const { deadline } = record as typeof record & JobRecord;
    if (deadline !== null) commands.zadd(keys.deadlines(), Date.parse(deadline), id);
  } else if (kind === 'smp') {
    const { policyId } = record as typeof record & SampleRecord;
    if (policyId !== null) commands.sadd(keys.children(policyId), id);
  }
  for (const [error] of (await commands.exec()) ?? []) if (error) throw error;
}
