import type { Redis } from '../../redis/connection.ts';

/** A key of Redis with its value, as JSON. */
export interface KeyCopy {
  /** Without the prefix of the service, so that it can be restored under another one. */
  readonly key: string;
  readonly type: 'string' | 'hash' | 'list' | 'set' | 'zset' | 'stream';
  /**
   * By type: a text; [field, value, ...]; values; members; [member, score, ...]; a list of
   * [id, [field, value, ...]].
   */
  readonly value: string | readonly string[] | readonly (readonly [string, readonly string[]])[];
  /** Milliseconds until the key expires; absent when it does not. */
  readonly ttl?: number;
}

/** Largest number of entries in one command. */
const BATCH_SIZE = 1000;

/** Lists every key under `prefix`, without the prefix. A key may be listed twice. */
export async function* scanKeys(redis: Redis, prefix: string): AsyncGenerator<string> {
  for (let cursor = '0'; ; ) {
    const [next, found] = await redis.scan(cursor, 'MATCH', `${prefix}:*`, 'COUNT', 500);
    for (const key of found) yield key.slice(prefix.length + 1);
    cursor = next;
    if (cursor === '0') return;
  }
}

/**
 * Copies keys as they are at one moment. Missing keys are left out.
 * @param known types of the keys that may appear meanwhile; others are asked for
 */
export async function copyKeys(
  redis: Redis,
  prefix: string,
  keys: readonly string[],
  known: { readonly [key: string]: KeyCopy['type'] } = {},
): Promise<KeyCopy[]> {
  // The type of a key does not change, so it can be read before the transaction. A key that
  // appeared in between would be missing in the copy, so the caller has to know its type.
  const typeOf = async (key: string): Promise<string> => known[key] ?? (await redis.type(`${prefix}:${key}`));
  const types = await Promise.all(keys.map(typeOf));
  const wanted = keys.map((key, i) => ({ key, type: types[i] })).filter(({ type }) => type !== 'none');
  const commands = redis.multi();
  for (const { key, type } of wanted) {
    const full = `${prefix}:${key}`;
    commands.pttl(full);
    if (type === 'string') commands.get(full);
    else if (type === 'hash') commands.hgetall(full);
    else if (type === 'list') commands.lrange(full, 0, -1);
    else if (type === 'set') commands.smembers(full);
    else if (type === 'zset') commands.zrange(full, '0', '-1', 'WITHSCORES');
    else commands.xrange(full, '-', '+');
  }
  const answers = ((await commands.exec()) ?? []).map(([error, answer]) => {
    if (error) throw error;
    return answer;
  });
  return wanted.flatMap(({ key, type }, i) => {
    const [ttl, answer] = [Number(answers[2 * i]), answers[2 * i + 1]];
    const isObject = type === 'hash' && !Array.isArray(answer);
    const value = isObject ? Object.entries(answer as Record<string, string>).flat() : answer;
    // The key may have been deleted meanwhile.
    if (value === null || (Array.isArray(value) && value.length === 0)) return [];
    return [{ key, type, value, ...(ttl >= 0 ? { ttl } : {}) } as KeyCopy];
  });
}

/** Restores a key. Its current value is replaced, but the children of a record are added. */
export async function putKey(
  redis: Redis,
  prefix: string,
  { key, type, value, ttl }: KeyCopy,
): Promise<void> {
  const full = `${prefix}:${key}`;
  const commands = redis.multi();
  if (!key.startsWith('children:')) commands.del(full);
  if (typeof value === 'string') commands.set(full, value);
  else if (type === 'stream') {
    for (const [id, fields] of value as readonly (readonly [string, readonly string[]])[])
      commands.xadd(full, id, ...fields);
  } else {
    const values = value as readonly string[];
    for (let i = 0; i < values.length; i += BATCH_SIZE) {
      const batch = values.slice(i, i + BATCH_SIZE);
      if (type === 'hash') commands.hset(full, ...batch);
      else if (type === 'list') commands.rpush(full, ...batch);
      else if (type === 'set') commands.sadd(full, ...batch);
      // ZADD takes [score, member, ...].
      else commands.zadd(full, ...batch.map((_, k) => (k % 2 === 0 ? batch[k + 1] : batch[k - 1])));
    }
  }
  if (ttl !== undefined) commands.pexpire(full, Math.max(1, ttl));
  for (const [error] of (await commands.exec()) ?? []) if (error) throw error;
}
