import type { Redis } from '../../redis/connection.ts';

/** What a key of Redis holds, as JSON. */
export interface KeyCopy {
  /** Without the prefix of the service, so that it may be put back under another one. */
  readonly key: string;
  readonly type: 'string' | 'hash' | 'list' | 'set' | 'zset' | 'stream';
  /** A text; [field, value, ...]; values; members; [member, score, ...]; [id, [field, value, ...]] each. */
  readonly value: string | readonly string[] | readonly (readonly [string, readonly string[]])[];
  /** Milliseconds until it expires; absent: never. */
  readonly ttl?: number;
}

/** Entries of one command, so that none is too large. */
const AT_A_TIME = 1000;

/** Every key under `prefix`, without it; one may come twice. */
export async function* scanKeys(redis: Redis, prefix: string): AsyncGenerator<string> {
  for (let cursor = '0'; ; ) {
    const [next, found] = await redis.scan(cursor, 'MATCH', `${prefix}:*`, 'COUNT', 500);
    for (const key of found) yield key.slice(prefix.length + 1);
    cursor = next;
    if (cursor === '0') return;
  }
}

/** Copies of keys that belong together, as they are at one moment; those that are not there are left out. */
export async function copyKeys(redis: Redis, prefix: string, keys: readonly string[]): Promise<KeyCopy[]> {
  // Types do not change, so they may be asked for before.
  const types = await Promise.all(keys.map((key) => redis.type(`${prefix}:${key}`)));
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
    // It may have gone meanwhile.
    if (value === null || (Array.isArray(value) && value.length === 0)) return [];
    return [{ key, type, value, ...(ttl >= 0 ? { ttl } : {}) } as KeyCopy];
  });
}

/** Puts a key back, in place of what is there. */
export async function putKey(
  redis: Redis,
  prefix: string,
  { key, type, value, ttl }: KeyCopy,
): Promise<void> {
  const full = `${prefix}:${key}`;
  const commands = redis.multi().del(full);
  if (typeof value === 'string') commands.set(full, value);
  else if (type === 'stream') {
    for (const [id, fields] of value as readonly (readonly [string, readonly string[]])[])
      commands.xadd(full, id, ...fields);
  } else {
    const values = value as readonly string[];
    for (let i = 0; i < values.length; i += AT_A_TIME) {
      const some = values.slice(i, i + AT_A_TIME);
      if (type === 'hash') commands.hset(full, ...some);
      else if (type === 'list') commands.rpush(full, ...some);
      else if (type === 'set') commands.sadd(full, ...some);
      else commands.zadd(full, ...some.map((_, k) => (k % 2 === 0 ? some[k + 1] : some[k - 1])));
    }
  }
  if (ttl !== undefined) commands.pexpire(full, Math.max(1, ttl));
  for (const [error] of (await commands.exec()) ?? []) if (error) throw error;
}
