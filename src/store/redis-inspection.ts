import type { Redis } from '../redis/connection.ts';

/** What a Redis is, and what it promises about the writes that it acknowledges. */
export interface RedisInspection {
  /** It refuses writes. */
  readonly isReplica: boolean;
  /** Scripts here use keys of several slots, so a cluster refuses them. */
  readonly isCluster: boolean;
  /** Settings with which accepted work can be lost, each a sentence that says what to set. */
  readonly risks: readonly string[];
  /** Sentences about what could not be checked, and what to set. */
  readonly unchecked: readonly string[];
  /** Bytes that Redis may use; 0: no limit; null: unknown. */
  readonly maxMemory: number | null;
}

/** Says why a cluster is refused. */
export const CLUSTER_REFUSED =
  'it is a Redis Cluster, and the scripts of findery need all keys on one server. ' +
  'Use one Redis, or a primary with replicas behind Sentinels (redis-sentinel://host:port,host:port/NAME)';

/**
 * Reads role, persistence, eviction and memory limit. Managed Redises often forbid CONFIG, and some
 * users may not read INFO: what neither says is `unchecked`.
 * @throws Error when Redis cannot be reached
 */
export async function inspectRedis(redis: Redis): Promise<RedisInspection> {
  const info = parseInfo((await unlessForbidden(redis.info())) ?? '');
  const setting = async (name: string) => {
    const answer = await unlessForbidden(redis.config('GET', name) as Promise<string[]>);
    return answer?.[1];
  };
  const [appendOnly, appendFsync, policy, maxMemory] = await Promise.all([
    setting('appendonly').then((value) => value ?? wordOf(info.get('aof_enabled'))),
    setting('appendfsync'),
    setting('maxmemory-policy').then((value) => value ?? info.get('maxmemory_policy')),
    setting('maxmemory').then((value) => value ?? info.get('maxmemory')),
  ]);
  const risks: string[] = [];
  const unchecked: string[] = [];
  if (appendOnly === 'no')
    risks.push('Redis has appendonly "no": a restart of Redis loses accepted work. Set appendonly yes.');
  else if (appendOnly === undefined) unchecked.push(uncheckable('appendonly', 'yes'));
  if (appendOnly === 'yes' && appendFsync !== undefined && appendFsync !== 'always')
    risks.push(
      `Redis has appendfsync "${appendFsync}": a crash of its machine loses what was accepted in the last ` +
        'seconds. Set appendfsync always.',
    );
  if (appendFsync === undefined) unchecked.push(uncheckable('appendfsync', 'always'));
  if (policy === undefined) unchecked.push(uncheckable('maxmemory-policy', 'noeviction'));
  else if (policy !== 'noeviction')
    risks.push(
      `Redis has maxmemory-policy "${policy}": a full Redis evicts accepted work. ` +
        'Set maxmemory-policy noeviction.',
    );
  return {
    isReplica: info.get('role') === 'slave',
    isCluster: info.get('cluster_enabled') === '1',
    risks,
    unchecked,
    maxMemory: maxMemory === undefined ? null : Number(maxMemory),
  };
}

function uncheckable(name: string, value: string): string {
  return `${name} of Redis could not be checked, because it forbids CONFIG. It has to be ${value}.`;
}

/** `yes` or `no` of a field of INFO. */
function wordOf(flag: string | undefined): string | undefined {
  return flag === undefined ? undefined : flag === '1' ? 'yes' : 'no';
}

/** The answer; undefined when Redis does not know the command or this user may not send it. */
async function unlessForbidden<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof Error && /^(?:NOPERM|ERR unknown command|ERR .*not allowed)/i.test(error.message))
      return undefined;
    throw error;
  }
}

/** The fields of an answer to INFO. */
export function parseInfo(text: string): Map<string, string> {
  const fields = text.split(/\r?\n/).map((line) => line.split(':'));
  return new Map(fields.filter(({ length }) => length === 2) as [string, string][]);
}
