import { currentVersion } from './migrations.ts';
import { parseRecord } from './record-fields.ts';
import { script } from './redis-script.ts';
import type { JobRecord, SharedStore, TenantStore } from './store.ts';
import { turnFunctions } from './turns.ts';

/**
 * A job and its place in the queue, in one look. Whoever has read it before names the stamp that it had then, and gets the record only when
 * it has another one: a stamp names the change that was the last (`record-scripts.ts`), of what was accepted when by whom.
 *
 * KEYS: record. ARGV: prefixes of BullMQ's keys and of the turns, id, stamp. Answers {} (there is none), {stamp, place} or {stamp, place, record}.
 */
const LOOK = `
local known = redis.call('HMGET', KEYS[1], 'status', 'tenant', 'createdAt', 'requestId', '_version', '_change:owner', '_change:other')
if not known[1] then return {} end
local status, tenant, ahead = known[1], known[2], -1
for i = 1, #known do known[i] = known[i] or '' end
local stamp = table.concat(known, ' ')
if status == 'queued' then
  ${turnFunctions('ARGV[1]', 'ARGV[2]')}
  ahead = ahead_of(ARGV[3], tenant and string.sub(tenant, 2, -2), call('HGETALL', head))
end
if stamp == ARGV[4] then return {stamp, ahead} end
return {stamp, ahead, redis.call('HGETALL', KEYS[1])}
`;

type Answer = readonly [] | readonly [string, number, string[]?];
const look = script<Answer>('look', LOOK, 1);

/** Jobs that are remembered; the one not asked for for longest goes. */
const MOST = 1000;

/** What somebody who reads a job gets. Shared by all who do: not to be changed, but for `shown`. */
export interface Reading {
  readonly record: JobRecord;
  /** As `Queues.position` has it. */
  readonly position: number | null;
  /** For the reader to keep what it makes of record and position; empty when one of them is another than before. */
  readonly shown: { text?: string };
}

interface Known extends Reading {
  readonly stamp: string;
}

/**
 * Reads jobs, which clients do over and over while they wait. Each look asks Redis, so what any process changed is seen at once; but a
 * record that is as it was is neither sent nor parsed again.
 */
export class JobReader {
  readonly #shared: SharedStore;
  /** In the order in which they were last asked for. */
  readonly #known = new Map<string, Known>();

  constructor(shared: SharedStore) {
    this.#shared = shared;
  }

  /**
   * The tenant's job with this id.
   * @throws ProblemError `gone` (410) when it was deleted, `not-found` (404) when there never was one, or it is another's
   */
  async read(store: TenantStore, id: string): Promise<Reading> {
    const known = this.#known.get(id);
    const [stamp, ahead = -1, fields] = await this.#look(store, id, known?.stamp ?? '');
    const position = ahead < 0 ? null : ahead + 1;
    if (known && known.stamp === stamp && fields === undefined) {
      const reading = known.position === position ? known : { ...known, position, shown: {} };
      return this.#remember(store, id, reading);
    }
    const pairs = pairsOf(fields ?? []);
    const record = parseRecord<JobRecord>(pairs);
    // What is not there, another's, or of another version is for the store to tell apart.
    if (!record || !stamp || pairs._version !== VERSION) {
      this.#known.delete(id);
      const found = await store.jobs.get(id);
      return { record: found, position: await this.#positionOf(found), shown: {} };
    }
    return this.#remember(store, id, { stamp, record, position, shown: {} });
  }

  async #remember(store: TenantStore, id: string, reading: Known): Promise<Reading> {
    if (reading.record.tenant !== store.tenant) return { ...reading, record: await store.jobs.get(id) }; // 404
    this.#known.delete(id);
    this.#known.set(id, reading);
    if (this.#known.size > MOST) this.#known.delete(this.#known.keys().next().value as string);
    return reading;
  }

  #look({ keys, queues }: SharedStore, id: string, stamp: string): Promise<Answer> {
    if (!id.startsWith('job_')) return Promise.resolve([]); // all kinds lie under one prefix
    return look(this.#shared.redis, keys.record(id), queues.prefix('optimize'), keys.turns('optimize'), id, stamp);
  }

  async #positionOf({ id, status }: JobRecord): Promise<number | null> {
    return status === 'queued' ? this.#shared.queues.position('optimize', id) : null;
  }
}

const VERSION = String(currentVersion('job'));

function pairsOf(flat: readonly string[]): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (let i = 0; i < flat.length; i += 2) pairs[flat[i]] = flat[i + 1];
  return pairs;
}
